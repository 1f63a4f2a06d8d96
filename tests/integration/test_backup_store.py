# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups into an object store that fails, hangs, cuts uploads and loses objects, while a server writes.

Nothing is lost, the error says what to do, and the next run succeeds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backing_up
import interference
import object_store
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup import attempts
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import lock_holder
from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings

# Requests of restic, by what they are for: https://github.com/restic/restic/blob/master/doc/design.rst#repository-layout
UPLOAD = ("PUT", "/data/")
READ_BACK = ("GET", "/data/")
REMOVAL = ("DELETE", "/snapshots/")


@dataclass
class Site:
    """A server that runs, an object store with one verified backup of it, and a proxy before the store.

    Attributes:
        settings: of the repository, by the proxy.
        first: id of the backup.
        written: how many records the server has.
    """

    server: servers.Server
    store: object_store.ObjectStore
    proxy: interference.Proxy
    settings: RepositorySettings
    first: str = ""
    written: int = 0

    @property
    def data(self) -> Path:
        return self.server.data

    @property
    def bucket(self) -> Path:
        """The repository's folder."""
        return self.store.root / self.store.bucket / "faults"

    def write(self, count: int = 20) -> None:
        """Write more records, which nobody keeps waiting."""
        began = time.monotonic()
        backing_up.upsert(self.server.url, "books", range(self.written, self.written + count))
        self.written += count
        print(f"a write took {time.monotonic() - began:.3f} s")

    def options(self, **more: Any) -> dict[str, Any]:
        return backing_up.options(self.settings, path=self.data, **more)

    def backups(self) -> tuple[Backup, ...]:
        """Return what is in the repository, without the proxy."""
        return backing_up.catalogue(repositories.in_store(self.store, "faults")).backups

    def check_tidy(self) -> None:
        """Check that nobody waits for anything, and that nothing half is left."""
        assert lock_holder(self.data / "chroma.sqlite3") == 0
        self.write(1)
        assert backing_up.leftovers(self.data) == []
        assert Journal.of(self.data).open_entries() == []
        assert not [each for each in self.backups() if each.pending or each.twins]
        assert not repositories.locks(self.bucket)


def let_all_pass(_method: str, _path: str, _number: int) -> None:
    """Interfere with nothing."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("place") / "data"
    data.mkdir()
    with (
        servers.running(servers.VERSIONS[-1], data=data) as server,
        object_store.running() as store,
        interference.proxy(store.endpoint) as proxy,
    ):
        site = Site(server, store, proxy, repositories.in_store(store, "faults", proxy.url, timeout=2.0))
        site.write(300)
        site.first = backing_up.make(data, repositories.in_store(store, "faults"))["backup"]["id"]
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    yield shared
    shared.proxy.decide = let_all_pass


class Fault:
    """What becomes of requests of one kind, until it is over.

    Args:
        what: method and a part of the path.
        decision: see :data:`interference.Decision`.
    """

    def __init__(self, what: tuple[str, str], decision: int | str) -> None:
        self.what, self.decision = what, decision
        self.over = False
        self.hits = 0

    def __call__(self, method: str, path: str, _number: int) -> int | str | None:
        if self.over or method != self.what[0] or self.what[1] not in path:
            return None
        self.hits += 1
        return self.decision


class Loss(Fault):
    """Loses the largest new object while it is asked for."""

    def __init__(self, site: Site) -> None:
        super().__init__(READ_BACK, "")
        self.bucket, self.known = site.bucket, set(site.bucket.glob("data/*/*"))

    def __call__(self, method: str, path: str, number: int) -> None:
        new = set(self.bucket.glob("data/*/*")) - self.known
        if not self.hits and new and super().__call__(method, path, number) is not None:
            max(new, key=lambda each: each.stat().st_size).unlink()


def test_what_passes_costs_an_attempt_and_nothing_else(site, monkeypatch):
    """Each attempt meets another fault, which is over when it was given up; the last one meets none."""
    site.write()
    before = [each.id for each in site.backups()]
    faults = [Fault(UPLOAD, "cut"), Fault(UPLOAD, "hang"), Fault(READ_BACK, 500), Fault(READ_BACK, "hang"), Fault(REMOVAL, 500), Loss(site)]
    left = iter([*faults, let_all_pass])
    site.proxy.decide = next(left)

    def over(_failures: int) -> float:
        site.proxy.decide = next(left)
        return 0.05

    monkeypatch.setattr(attempts, "delay", over)
    made = backing_up.make(site.data, site.settings, "full", times=len(faults) + 1)["backup"]
    assert all(each.hits for each in faults)
    assert (made["attempts"], bool(made["verified"]), made["records"]) == (len(faults) + 1, True, site.written)
    assert [each.id for each in site.backups()] == [*before, made["id"]]
    # One snapshot is one backup: nothing of another attempt stands beside it under its name.
    whole = open_repository(repositories.in_store(site.store, "faults"))
    assert len(whole.snapshots((f"id={made['id']}",))) == 1
    site.check_tidy()
    whole.check(read_data=True)


def test_an_increment_passes_too(site, monkeypatch):
    before = [each.id for each in site.backups()]
    site.write()
    site.proxy.decide = Fault(UPLOAD, 500)

    def over(_failures: int) -> float:
        site.proxy.decide = let_all_pass
        return 0.05

    monkeypatch.setattr(attempts, "delay", over)
    made = backing_up.make(site.data, site.settings, "increment")["backup"]
    assert (made["kind"], made["attempts"], bool(made["verified"]), made["records"]) == ("increment", 2, True, site.written)
    assert [each.id for each in site.backups()] == [*before, made["id"]]
    site.check_tidy()


@pytest.mark.parametrize(("what", "phase"), [(UPLOAD, "upload"), (REMOVAL, "tag")])
def test_what_does_not_pass_is_an_error_that_says_where_and_the_next_run_succeeds(what, phase, site, tmp_path):
    site.write()
    before = [each.id for each in site.backups()]
    site.proxy.decide = fault = Fault(what, 500)
    said = backing_up.run("chroma_backup", site.options(kind="full", max_retries=1), tmp_path)
    assert fault.hits > 0
    assert (said["failed"], said["code"], said["phase"], said["attempt"]) == (True, "unavailable", phase, 1), said
    assert said["hint"]
    del said["invocation"]
    assert repositories.PASSWORD not in json.dumps(said)
    assert site.store.secret_key not in json.dumps(said)
    assert Journal.of(site.data).open_entries() == []
    assert backing_up.leftovers(site.data) == []
    site.write()
    # What could not be removed counts for nothing, and goes with the next run.
    left = [each for each in site.backups() if each.id not in before]
    assert len(left) == (phase == "tag")
    site.proxy.decide = let_all_pass
    made = backing_up.run("chroma_backup", site.options(), tmp_path)
    assert not made.get("failed"), made
    assert (made["backup"]["attempts"], made["backup"]["records"]) == (1, site.written)
    assert [each.id for each in site.backups()][: len(before)] == before
    site.check_tidy()


def test_a_store_that_is_away_is_told_and_nothing_is_removed(site, tmp_path):
    before = site.backups()
    site.proxy.decide = lambda _method, _path, _number: 500
    for module, more in (("chroma_backup", {}), ("chroma_backup_prune", {"backups": [site.first]}), ("chroma_backup_info", {})):
        options = site.options(**more)
        if module == "chroma_backup_info":
            del options["path"]
        said = backing_up.run(module, options, tmp_path)
        assert (said.get("failed"), said.get("code")) == (True, "unavailable"), said
        assert "what is in the repository is kept" in said["hint"]
    site.proxy.decide = let_all_pass
    assert site.backups() == before
    site.check_tidy()


def test_without_rights_nothing_is_tried_twice_and_nothing_changes(site, tmp_path):
    before = site.backups()
    # Somebody who may read and list, but not write: an upload is refused.
    site.proxy.decide = lambda method, _path, _number: 403 if method in ("PUT", "POST", "DELETE") else None
    site.write()
    said = backing_up.run("chroma_backup", site.options(kind="full"), tmp_path)
    assert (said["code"], said["attempt"], said["phase"]) == ("forbidden", 1, "upload"), said
    assert "may list, read, write and delete" in said["hint"]
    site.proxy.decide = let_all_pass
    # Somebody whom the bucket does not know at all.
    access, secret = object_store.add_stranger(site.store)
    for prefix in ("faults", "none"):
        stranger = repositories.in_store(site.store, prefix, access_key=access, secret_key=secret)
        said = backing_up.run("chroma_backup", backing_up.options(stranger, path=site.data), tmp_path)
        assert (said["failed"], said["code"]) == (True, "forbidden"), said
        assert secret not in said["msg"] + said["hint"]
    assert not (site.bucket.parent / "none").exists()
    assert site.backups() == before
    site.check_tidy()
