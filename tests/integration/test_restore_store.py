# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores from an object store that fails, hangs or lost an object, and from a repository with a flipped byte.

The old data stay until all of the backup is there and proven, the error says what else can be restored, and the next run succeeds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backing_up
import interference
import object_store
import pytest
import repositories
from repositories import contents
from restoring import files, private
from test_backup_faults import damage
from test_backup_store import READ_BACK, UPLOAD, Fault, let_all_pass
from test_restore_killed import count, grow, state

from ansible_collections.thinkube.chroma.plugins.module_utils._journal.journal import Journal
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings

# Records of the two backups, and of what is there now.
FIRST, SECOND, NOW = 20, 30, 40


@dataclass
class Site:
    """A directory that nobody serves, two full backups of earlier states of it, and what is between it and them.

    Attributes:
        repository: folder of the repository.
        settings: of the repository.
        backups: ids.
        brought: files that the second backup brought into the repository.
    """

    root: Path
    repository: Path
    settings: RepositorySettings
    backups: tuple[str, ...] = ()
    brought: frozenset[Path] = frozenset()

    @property
    def data(self) -> Path:
        return self.root / "data"

    def module(self, name: str, **more: Any) -> dict[str, Any]:
        """Run a module on the directory."""
        said = backing_up.run(name, backing_up.options(self.settings, path=self.data, **more), self.root)
        assert "exception" not in said, said
        said.pop("invocation", None)
        assert repositories.PASSWORD not in json.dumps(said)
        return said

    def check_untouched(self, before: dict[str, str]) -> None:
        """Check that what is there is what was there, and that nothing half lies beside it."""
        assert files(self.data) == before
        assert private(self.data).isdisjoint({"scratch", "staging", "replaced", "removed", "kept"})
        assert Journal.of(self.data).open_entries() == []
        assert not repositories.locks(self.repository)


def prepare(root: Path, repository: Path, settings: RepositorySettings) -> Site:
    (root / "data").mkdir(parents=True)
    site = Site(root, repository, settings)
    for start, stop in ((0, FIRST), (FIRST, SECOND)):
        grow(site, start, stop)
        known = frozenset(repository.glob("data/*/*"))
        site.backups += (backing_up.make(site.data, settings, "full", verify=False)["backup"]["id"],)
        site.brought = frozenset(repository.glob("data/*/*")) - known
    grow(site, SECOND, NOW)
    return site


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, interference.Proxy]]:
    """A repository in an object store, behind a proxy."""
    with object_store.running() as store, interference.proxy(store.endpoint) as proxy:
        settings = repositories.in_store(store, "faults", proxy.url, timeout=4.0)
        yield prepare(tmp_path_factory.mktemp("stored"), store.root / store.bucket / "faults", settings), proxy


@pytest.fixture
def place(stored: tuple[Site, interference.Proxy], tmp_path: Path) -> Iterator[tuple[Site, interference.Proxy]]:
    """Yield a copy of the directory, the repository as it was prepared, and the proxy."""
    site, proxy = stored
    shutil.copytree(site.data, tmp_path / "place" / "data")
    shutil.copytree(site.repository, tmp_path / "kept")
    yield Site(tmp_path / "place", site.repository, site.settings, site.backups, site.brought), proxy
    proxy.decide = let_all_pass
    shutil.rmtree(site.repository)
    shutil.copytree(tmp_path / "kept", site.repository)


def test_what_fails_before_the_swap_touches_nothing_and_the_next_run_succeeds(place):
    """Reading the backup fails, then bringing the restore point; at last both fail twice, for which restic has the patience."""
    site, proxy = place
    before = files(site.data)
    for what, decision, code in (
        (READ_BACK, 500, "unavailable"),
        (READ_BACK, "hang", "timeout"),
        (UPLOAD, "cut", "unavailable"),
        (UPLOAD, 403, "forbidden"),
    ):
        proxy.decide = fault = Fault(what, decision)
        said = site.module("chroma_restore", backup=site.backups[0], s3_timeout=1.0)
        assert fault.hits > 0
        assert (said.get("failed"), said.get("code")) == (True, code), said
        assert said["hint"]
        assert site.settings.store.secret_key not in json.dumps(said)
        site.check_untouched(before)
    passing = [Fault(READ_BACK, 500), Fault(UPLOAD, "cut")]

    def twice_each(method: str, path: str, number: int) -> int | str | None:
        for each in passing:
            each.over = each.hits >= 2
        return next(filter(None, (each(method, path, number) for each in passing)), None)

    proxy.decide = twice_each
    done = site.module("chroma_restore", backup=site.backups[0], s3_timeout=10.0)
    assert not done.get("failed"), done
    assert [each.hits for each in passing] == [2, 2]
    assert (done["completed"], done["restore_point_verified"], count(site)) == (False, True, FIRST)


def test_a_store_that_goes_away_with_the_swap_leaves_the_backup_served_and_the_old_data_kept(place):
    site, proxy = place
    proxy.decide = lambda _method, _path, _number: 500 if state(site) == "swapped" else None
    done = site.module("chroma_restore", backup=site.backups[0])
    assert not done.get("failed"), done
    assert len(done["warnings"]) == 1
    warning = str(done["warnings"])
    assert done["restore_point"] in warning
    assert "next backup or restore tries again" in warning
    assert (done["restore_point_verified"], count(site)) == (False, FIRST)
    assert (site.data / ".thinkube-chroma" / "replaced").exists()
    proxy.decide = let_all_pass
    made = site.module("chroma_backup", kind="full", verify=False)
    assert not made.get("failed"), made
    assert (state(site), made["backup"]["records"]) == ("finished", FIRST)
    assert not (site.data / ".thinkube-chroma" / "replaced").exists()
    undone = site.module("chroma_restore_undo")
    assert not undone.get("failed"), undone
    assert count(site) == NOW


def test_a_lost_object_is_named_with_what_can_be_restored_instead(place):
    site, _proxy = place
    before = files(site.data)
    max(site.brought, key=lambda each: each.stat().st_size).unlink()
    said = site.module("chroma_restore")
    assert (said.get("failed"), said.get("code")) == (True, "damaged_repository"), said
    assert site.backups[1] in said["msg"]
    assert site.backups[0] in said["hint"]
    site.check_untouched(before)
    # Nobody takes the older one in silence, and whoever asks for it gets it.
    assert site.module("chroma_restore", backup=site.backups[0])["backup"] == site.backups[0]
    assert count(site) == FIRST


def test_a_flipped_byte_is_named_and_the_old_data_stay(tmp_path):
    site = prepare(tmp_path / "place", tmp_path / "repository", repositories.settings(tmp_path / "repository"))
    before = files(site.data)
    damage(site.repository, set(site.repository.glob("data/*/*")) - site.brought)
    kept = contents(site.repository)
    said = site.module("chroma_restore")
    assert (said.get("failed"), said.get("code"), said.get("backups")) == (True, "damaged_repository", [site.backups[1]]), said
    assert site.backups[1] in said["msg"]
    assert site.backups[0] in said["hint"]
    site.check_untouched(before)
    # Nothing is mended nor removed by one who only wanted to read.
    assert contents(site.repository) == kept
    assert count(site) == NOW
    assert site.module("chroma_restore", backup=site.backups[0])["restore_point_verified"]
    assert count(site) == FIRST
