# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation names is there: playbooks, variables, error codes; and what is there is named. Needs no cluster."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .test_pages import BLOCKS, PAGES, ROOT, Block

PLAYBOOKS = ROOT / "playbooks"
DATA = PLAYBOOKS / "data"
UTILS = ROOT / "plugins" / "module_utils"
SETTINGS = set(yaml.safe_load((ROOT / "roles" / "chroma" / "defaults" / "main.yml").read_text()))
NAME = re.compile(r"\b(?:chroma|operations|auto_backup|backup_retention|local_cluster|remove)_[a-z0-9_]+\b")
# What an operation on the cluster hands to its data playbook by itself.
HANDED_OVER = {"chroma_operation_lock", "chroma_operation_lock_wait", "chroma_namespace", "chroma_statefulset", "chroma_start_timeout"}
# Of a repository: one list for all data playbooks that have one, docs/repository.md.
OF_REPOSITORIES = re.compile(r"chroma_(repository(_\w+)?|restic_path|s3_\w+)")

# Packages whose errors somebody meets who looks after the data.
BACKUPS = ("_backup", "_restore", "_repository", "_snapshot", "_increment", "_journal", "_delta")
MENDING = ("_repair", "_recovery", "_transaction", "_postgres", "_watch", "_health")
# Nobody's mistake but ours: places that an operation chooses itself.
INTERNAL = {"not_empty", "too_large"}
# In the warnings of an alert that was not delivered; docs/watch.md says so in a sentence.
OF_WEBHOOKS = {"invalid_url", "redirected"}


def words_of(*folders: str) -> set[str]:
    """Return the names of variables and options in code, playbooks and roles."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml", ".yaml", ".j2")]
    return {word for path in files if "collections" not in path.parts for word in NAME.findall(path.read_text())}


KNOWN = words_of("plugins", "roles", "playbooks", "inventory") | {path.stem for path in UTILS.glob("*.py")}
# What an export to PostgreSQL makes beside its table of the default name.
TABLES = re.compile(r"chroma_data_(current|faults|generations|g\d+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_that_a_page_names_is_one(page: Path) -> None:
    assert sorted(each for each in set(NAME.findall(page.read_text())) - KNOWN if not TABLES.fullmatch(each)) == []


def commands() -> Iterator[tuple[Block, Path, set[str]]]:
    """Yield block, playbook and variables of each documented command that runs a playbook."""
    for block in BLOCKS:
        if block.language != "bash":
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:(?<![\w/])playbooks/(\w+)\.yaml|thinkube\.chroma\.((?:data\.)?\w+)\b(?! -a))", line.partition(" #")[0])
            if found and "-m thinkube" not in line:
                name = found[1] or found[2]
                file = DATA / f"{name.removeprefix('data.')}.yaml" if name.startswith("data.") else PLAYBOOKS / f"{name}.yaml"
                arguments = re.findall(r"-e (?:'?(\w+)=|'\{\"(\w+)\")", line)
                yield block, file, {first or second for first, second in arguments}


COMMANDS = [each for each in commands() if not each[1].name.startswith("operation_events")]


@pytest.mark.parametrize(("block", "playbook", "variables"), COMMANDS, ids=lambda each: str(each) if isinstance(each, Block) else "")
def test_a_documented_command_names_a_playbook_and_variables_that_it_knows(block: Block, playbook: Path, variables: set[str]) -> None:
    assert playbook.exists(), f"{block} runs {playbook.name}"
    known = set(NAME.findall(playbook.read_text())) if playbook.parent == DATA else KNOWN
    assert sorted(each for each in variables - known if NAME.fullmatch(each)) == []


def test_every_playbook_of_backups_that_a_command_runs_is_run_by_a_test() -> None:
    """Most of their commands stop a server, remove things or need another place, and so are marked ``syntax``: others run them."""
    files = [path for folder in ("molecule", "tests/cluster") for path in (ROOT / folder).rglob("*.*") if path.suffix in (".yml", ".py")]
    texts = [path.read_text() for path in (*files, ROOT / "scripts" / "test")]
    wanted = {playbook.stem for _block, playbook, _variables in COMMANDS if playbook.parent == PLAYBOOKS}
    assert {"20_backup", "21_schedule", "30_restore", "39_undo_restore", "backups", "log"} <= wanted
    assert sorted(name for name in wanted if not any(re.search(rf"\b{name}\b", text) for text in texts)) == []


def test_every_playbook_and_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [path.stem for path in sorted(PLAYBOOKS.glob("*.yaml")) if f"`{path.stem}`" not in index] == []
    assert [path.name for path in PAGES if path.parent.name == "docs" and path.name != "README.md" and f"]({path.name})" not in index] == []


@pytest.mark.parametrize("playbook", sorted(PLAYBOOKS.glob("[0-9]*.yaml")), ids=lambda path: path.stem)
def test_the_head_of_a_playbook_names_variables_that_there_are(playbook: Path) -> None:
    head = "\n".join(line for line in playbook.read_text().splitlines() if line.startswith("#"))
    body = "\n".join(line for line in playbook.read_text().splitlines() if not line.startswith("#"))
    known = SETTINGS | words_of("roles", "inventory") | set(NAME.findall(body))
    assert sorted(set(NAME.findall(head)) - known) == []


def variables_of(playbook: Path) -> set[str]:
    """Return what a data playbook can be given: all that it reads and has not registered itself."""
    text = "\n".join(line for line in playbook.read_text().splitlines() if not line.startswith("#"))
    return set(re.findall(r"(?<![.\w])chroma_\w+\b(?!:)", text)) - set(re.findall(r"register: (\w+)", text))


def tables_of(page: Path, head: str) -> list[tuple[str, str]]:
    """Return the first cell of the head and the rows of each table whose head begins so."""
    return re.findall(rf"^\| ({head}[^|]*) \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE)


def documented_variables() -> dict[tuple[str, ...], set[str]]:
    """Return the documented variables of data playbooks: each has its row in a table of playbooks, or a table, alone or with its undo."""
    found: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES:
        for _head, table in tables_of(page, "data playbook"):
            for row in table.splitlines():
                found[(re.findall(r"`(\w+)`", row)[0],)] = set(re.findall(r"`(chroma_\w+)`", row))
        for head, table in tables_of(page, "variable of"):
            first_cells = "".join(row.split("|")[1] for row in table.splitlines())
            found[tuple(re.findall(r"`data\.(\w+)`", head))] = set(re.findall(r"`(chroma_\w+)`", first_cells))
    return found


DOCUMENTED = documented_variables()


def test_every_data_playbook_is_documented() -> None:
    assert sorted(name for names in DOCUMENTED for name in names) == sorted(path.stem for path in DATA.glob("*.yaml") if variables_of(path))


@pytest.mark.parametrize("names", DOCUMENTED, ids=" ".join)
def test_the_variables_of_a_data_playbook_are_those_that_are_documented(names: tuple[str, ...]) -> None:
    documented = set(DOCUMENTED[names])
    takes = {each for name in names for each in variables_of(DATA / f"{name}.yaml")}
    if "backup" in names:  # it removes old ones by the variables of the other playbook
        documented |= {"chroma_backup_retention_days", "chroma_backup_retention_count"}
    if "undo_restore" in names:  # a server is asked on a cluster only
        documented |= {"chroma_url", "chroma_token", "chroma_token_header", "chroma_ca_path"}
    assert sorted(documented - takes) == []
    assert sorted(each for each in takes - documented - HANDED_OVER if not OF_REPOSITORIES.fullmatch(each)) == []


def test_the_variables_of_repositories_are_documented() -> None:
    [section] = re.findall(r"### Variables of the data playbooks\n(.*?)\n#", (ROOT / "docs" / "repository.md").read_text(), re.DOTALL)
    names = ("backup", "backups", "prune", "restore", "undo_restore", "test_backup")
    takes = {each for name in names for each in variables_of(DATA / f"{name}.yaml") if OF_REPOSITORIES.fullmatch(each)}
    assert set(re.findall(r"`(chroma_\w+)`", section)) == takes


def constants(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def raised(path: Path) -> Iterator[str]:
    """Yield the codes of the errors that a file raises by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ChromaError" and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value)


def documented_codes() -> dict[str, set[str]]:
    """Return the codes in the tables of errors, by page: those of the first column, or of the outcome."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        for column, table in re.findall(r"^\| (code|what \| outcome) \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE):
            for row in table.splitlines():
                cell = row.split("|")[2 if "outcome" in column else 1]
                found.setdefault(page.name, set()).update(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", cell))
    return found


def test_every_error_that_a_page_explains_can_occur() -> None:
    there = {text for path in UTILS.rglob("*.py") for text in constants(path)}
    codes = documented_codes()
    assert {"backup.md", "restore.md", "repository.md", "snapshots.md", "increments.md", "journal.md", "delta.md"} <= codes.keys()
    assert {page: sorted(each - there) for page, each in codes.items() if each - there} == {}


def test_every_error_of_backups_repair_and_recovery_is_explained() -> None:
    explained = {code for each in documented_codes().values() for code in each}
    occur = {code for package in (*BACKUPS, *MENDING) for path in (UTILS / package).rglob("*.py") for code in raised(path)}
    assert {"wrong_password", "swap_failed", "no_base"} <= occur
    assert sorted(occur - explained - INTERNAL - OF_WEBHOOKS) == []
