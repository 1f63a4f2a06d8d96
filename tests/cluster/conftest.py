# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of the tests' own on the local cluster, playbooks as a user starts them, and what processes show meanwhile.

Every release has a namespace and a hostname of its own, so one that somebody works with is not touched. What a failed run
left behind is removed at the start of the next one.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.thinkube.chroma.tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))  # writers, and the restic that the image has
CLUSTER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma" / "cluster"
DOMAIN = "thinkube.test"

# Nothing that shell, regular expression, YAML or Jinja would take for its own may matter; the marks are what is searched for.
MARKS = ("Acceptance7c41", "Acceptance9d02")
TOKEN, NEXT_TOKEN = (f"{mark}-{{{{7*7}}}}$(id).*+?[x]|&<>#~%;=^" for mark in MARKS)

PREFIX = "chroma-acceptance"
SUFFIXES = ("", "-interrupted", "-operations", "-backup", "-row", "-recovery", "-0-6-3", "-0-5-23")  # of the tests' own releases
PLATFORM = f"{PREFIX}-platform"  # holds what the platform gives: a certificate, an account
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
OURS = "statefulsets,services,secrets,configmaps,persistentvolumeclaims,ingresses,httproutes,networkpolicies,poddisruptionbudgets"


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl as the cluster's administrator, with ``text`` as its standard input."""
    command = [str(CLUSTER / "bin" / "kubectl"), f"--kubeconfig={CLUSTER}/admin.conf", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def get(*arguments: str) -> dict[str, Any]:
    """Return what ``kubectl get`` has; an empty dictionary where it has nothing."""
    found: dict[str, Any] = json.loads(kubectl("get", *arguments, "--ignore-not-found", "--output=json") or "{}")
    return found


def create(**document: Any) -> None:
    """Create an object."""
    kubectl("create", "--filename=-", text=json.dumps(document))


@dataclass(frozen=True)
class Release:
    """A release on the cluster; ``name`` is its namespace and the first part of its hostname."""

    name: str
    variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hostname(self) -> str:
        return f"{self.name}.{DOMAIN}"

    def all_variables(self) -> dict[str, Any]:
        return {"chroma_namespace": self.name, "chroma_hostname": self.hostname, "chroma_capacity": "1Gi", **self.variables}

    def get(self, *arguments: str) -> dict[str, Any]:
        return get("--namespace", self.name, *arguments)

    def names(self, *arguments: str) -> set[str]:
        return {f"{each['kind']}/{each['metadata']['name']}" for each in self.get(*arguments).get("items", [])}

    def exists(self) -> bool:
        return bool(get("namespace", self.name))

    def versions(self) -> dict[str, str]:
        """Return the resource version of the namespace and of every object in it that playbooks write."""
        found = [get("namespace", self.name), *self.get(OURS).get("items", [])]
        return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found if each}

    def secret(self, key: str) -> str:
        return base64.b64decode(self.get("secret", "chroma-auth")["data"][key]).decode()

    def curl(self, path: str, token: str = "") -> int:
        """Return the status of a request over HTTPS, 0 where nothing answered; the token is in no process list."""
        header = f'header = "X-Chroma-Token: {token}"\n' if token else ""
        command = ["curl", "--config", "-", "--silent", "--max-time", "20", "--cacert", str(CLUSTER / "pki" / "ca.crt")]
        command += ["--output", os.devnull, "--write-out", "%{http_code}", f"https://{self.hostname}{path}"]
        done = subprocess.run(command, input=header, capture_output=True, text=True, check=False, timeout=600)
        return int(done.stdout or 0)


@dataclass(frozen=True)
class Done:
    """A playbook's end.

    Attributes:
        code: ansible-playbook's exit code.
        output: what it wrote, both streams.
    """

    code: int
    output: str

    @property
    def changed(self) -> int:
        """The number of tasks that changed something, from the recap."""
        found = re.search(r"changed=(\d+)", self.output)
        assert found, self.output[-2000:]
        return int(found[1])

    @property
    def words(self) -> str:
        """The output with every white space as one blank: messages may be wrapped."""
        return " ".join(self.output.split())


class Playbooks:
    """Starts playbooks, and keeps everything that they wrote."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.journal: list[str] = []
        self._numbers = itertools.count()

    def start(
        self,
        name: str,
        release: Release,
        *options: str,
        token: str | None = TOKEN,
        inventory: Path = ROOT / "inventory" / "local",
        collections: Path = ROOT / "playbooks" / "collections",
        directory: Path = ROOT,
        terminal: bool = False,
        **variables: Any,
    ) -> tuple[subprocess.Popen[str], Path]:
        """Start a playbook and return its process, and the file that it writes to.

        Args:
            name: of a playbook of the collection.
            release: what it works on.
            options: further arguments of ansible-playbook.
            token: ADMIN_PASSWORD; None to leave it unset.
            inventory, collections, directory: what is used, and where it is started.
            terminal: give it one; what is written to the process's ``stdin`` is typed there.
            variables: extra variables, above the release's.
        """
        number = next(self._numbers)
        given, output = self.scratch / f"{number}.json", self.scratch / f"{number}.log"
        given.write_text(json.dumps({**release.all_variables(), **variables}))
        environment = {key: value for key, value in os.environ.items() if key not in ("ADMIN_PASSWORD", "KUBECONFIG", "ANSIBLE_CONFIG")}
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
        if token is not None:
            environment["ADMIN_PASSWORD"] = token
        command = ["ansible-playbook", "-i", str(inventory), f"thinkube.chroma.{name}", "-e", f"@{given}", *options]
        if terminal:
            command = ["script", "--quiet", "--return", "--flush", "--command", shlex.join(command), "/dev/null"]
        with output.open("w") as stream:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=directory,
                stdin=subprocess.PIPE if terminal else subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return process, output

    def run(self, name: str, release: Release, *options: str, **settings: Any) -> Done:
        """Run a playbook to its end; arguments as :meth:`start`."""
        process, output = self.start(name, release, *options, **settings)
        try:
            process.wait(timeout=600)
        finally:
            kill_tree(process)
            self.journal.append(output.read_text())
        return Done(process.returncode, self.journal[-1])

    def succeed(self, name: str, release: Release, *options: str, **settings: Any) -> Done:
        """Run a playbook that must succeed."""
        done = self.run(name, release, *options, **settings)
        assert done.code == 0, done.output[-6000:]
        return done

    def kill(self, moment: Callable[[], Any], name: str, release: Release, *options: str, **settings: Any) -> None:
        """Start a playbook and kill it and all its children when ``moment`` has come; it must still run then."""
        process, output = self.start(name, release, *options, **settings)
        try:
            until(lambda: moment() or process.poll() is not None, f"the moment to kill {name}")
            assert process.poll() is None, f"{name} ended before it could be killed: {output.read_text()[-3000:]}"
        finally:
            kill_tree(process)
            self.journal.append(output.read_text())


def kill_tree(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and all its descendants: Ansible's workers are in sessions of their own and would go on."""
    if process.poll() is not None:
        return
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    doomed = [process.pid]
    for pid in doomed:
        doomed += parents.get(pid, [])
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait(timeout=600)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Operations of a test that failed are removed: one that goes on would hold the lock that the next tests need."""
    report = yield
    release = getattr(getattr(item, "module", None), "RELEASE", None)
    if report.failed and call.when == "call" and release:
        with contextlib.suppress(AssertionError):  # it is the test's failure that is shown
            jobs = release.get("jobs").get("items", [])
            if left := [each["metadata"]["name"] for each in jobs if each["status"].get("active")]:
                kubectl("delete", "job", *left, f"--namespace={release.name}", "--cascade=foreground", "--now")
    return report


class ProcessWatch:
    """Collects the command line of every process of this machine, the pods' among them, several times a second."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.1):
            for pid in os.listdir("/proc"):
                if pid.isdigit():
                    try:
                        self.seen.add(Path("/proc", pid, "cmdline").read_bytes())
                    except OSError:  # ended meanwhile
                        continue


@pytest.fixture(scope="session")
def playbooks(tmp_path_factory: pytest.TempPathFactory) -> Playbooks:
    return Playbooks(tmp_path_factory.mktemp("playbooks"))


@pytest.fixture(scope="session")
def processes() -> Iterator[ProcessWatch]:
    with ProcessWatch() as watch:
        yield watch


@pytest.fixture(scope="session", autouse=True)
def only_one_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two runs at once would remove each other's releases."""
    with (CLUSTER / "acceptance.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_everything()
        yield
        remove_everything()


@pytest.fixture(scope="session")
def platform(only_one_run: None) -> str:
    """A namespace with what the platform gives; returns its name."""
    kubectl("create", "namespace", PLATFORM)
    return PLATFORM


def remove_everything() -> None:
    left = [name for name in kubectl("get", "namespaces", "--output=name").split() if name.startswith(f"namespace/{PREFIX}")]
    if left:
        kubectl("delete", "--timeout=150s", *left)


@pytest.fixture(scope="session", autouse=True)
def resolved_names(only_one_run: None) -> Iterator[None]:
    """This machine resolves the hostnames of the tests' releases."""
    mark = f"# {PREFIX}"
    hosts = Path("/etc/hosts")

    def without() -> list[str]:
        return [line for line in hosts.read_text().splitlines() if not line.endswith(mark)]

    line = " ".join(
        [
            "127.0.0.1",
            *(f"{PREFIX}{suffix}.{DOMAIN}" for suffix in SUFFIXES),
            mark,
        ]
    )
    hosts.write_text("\n".join([*without(), line]) + "\n")
    yield
    hosts.write_text("\n".join(without()) + "\n")
