# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""compose.yaml against the Compose specification, by its own reference implementation (compose-go), and against what the images have."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "compose.yaml"
SETTINGS = {
    "CHROMA_COLLECTION_NAME": "docs",
    "NEW_COLLECTION_NAME": "imported",
    "DB_NAME": "vectors",
    "DB_USER": "chroma",
    "DB_PASSWORD": "p|a&s$s'\"#",
}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The validator, built by the Go client."""
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin:/usr/lib/go/bin")
    if go is None:
        pytest.skip("there is no Go to build compose-go with")
    built = tmp_path_factory.mktemp("compose") / "compose"
    done = subprocess.run([go, "build", "-o", built, "."], cwd=ROOT / "tests" / "compose", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture
def config(program: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that does with a file what ``docker compose config`` does."""

    def run(file: Path = COMPOSE, **changes: str | None) -> subprocess.CompletedProcess[str]:
        settings = {name: value for name, value in {**SETTINGS, **changes}.items() if value is not None}
        return subprocess.run([program, file], env=settings, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def project(config: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, Any]:
    """The resolved project."""
    done = config()
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved


def test_the_file_is_valid_and_its_settings_arrive_exactly(project: dict[str, Any]) -> None:
    assert sorted(project["services"]) == ["chroma", "operations", "postgres"]
    operations = project["services"]["operations"]["environment"]
    assert {name: operations[name] for name in SETTINGS} == SETTINGS
    assert operations["CHROMADB_HOST"] == "chroma"
    assert project["services"]["postgres"]["environment"]["POSTGRES_PASSWORD"] == SETTINGS["DB_PASSWORD"]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_missing_is_named(config: Callable[..., subprocess.CompletedProcess[str]], name: str) -> None:
    done = config(**{name: None})
    assert done.returncode == 1
    assert name in done.stderr


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "chroma", "restarts"), "always"),
        (("services", "operations", "depends_on", "postgres", "condition"), "service_happy"),
        (("services", "postgres", "healthcheck", "interval"), ["5s"]),
        (("services", "chroma", "volumes"), ["nowhere:/data"]),
    ],
)
def test_what_the_specification_does_not_know_is_refused(
    config: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, path: tuple[str, ...], value: Any
) -> None:
    document = yaml.safe_load(COMPOSE.read_text())
    place = document
    for each in path[:-1]:
        place = place[each]
    place[path[-1]] = value
    changed = tmp_path / "compose.yaml"
    changed.write_text(yaml.safe_dump(document))
    assert config(changed).returncode == 1


def test_images_are_built_from_this_repository_and_have_what_is_run(project: dict[str, Any]) -> None:
    for service in project["services"].values():
        build = service["build"]
        containerfile = (ROOT / build["context"] / build.get("dockerfile", "Containerfile")).resolve()
        # Nothing but a name and a version: where they come from is for the host to say.
        assert "/" not in service["image"]
        assert containerfile.name == "Containerfile"
        text = containerfile.read_text()
        # A named volume gets its owner from the folder in the image, and nobody here is root.
        for volume in service.get("volumes", []):
            assert re.search(rf"install --directory --owner 1000 --group 1000 {volume['target']}$", text, re.MULTILINE)
        assert "USER 1000:1000" in text
    [program] = project["services"]["operations"]["entrypoint"]
    assert os.access(ROOT / "images" / "operations" / program, os.X_OK)
    assert f"images/operations/{program} " in (ROOT / "images" / "operations" / "Containerfile").read_text()


def test_the_images_are_those_of_a_release_on_kubernetes(project: dict[str, Any]) -> None:
    defaults = yaml.safe_load((ROOT / "roles" / "chroma" / "defaults" / "main.yml").read_text())
    images = {name: service["image"] for name, service in project["services"].items()}
    assert images["chroma"] == f"chroma:{defaults['chroma_version']}"
    assert images["operations"] == f"chroma-operations:{defaults['chroma_operations_version']}"


def test_the_operations_have_every_setting_that_they_ask_for(project: dict[str, Any]) -> None:
    script = (ROOT / "images" / "operations" / "chroma-standalone").read_text()
    [asked] = re.findall(r"^REQUIRED = (.+)$", script, re.MULTILINE)
    assert set(ast.literal_eval(asked)) <= set(project["services"]["operations"]["environment"])


def test_chroma_is_reached_from_this_host_only(project: dict[str, Any]) -> None:
    ports = [port for service in project["services"].values() for port in service.get("ports", [])]
    assert [(port["host_ip"], port["published"]) for port in ports] == [("127.0.0.1", "8000")]
