# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup keeps for the next one saves starts of restic, and changes nothing else, whatever becomes of it."""

from __future__ import annotations

import shutil

import backing_up
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.kept import NAME
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic


class Served:
    """A directory beside its server, and a repository of its own."""

    def __init__(self, server, base):
        self.data, self.url, self.records = server.data, server.url, 0
        self.repository = base / "repository"
        self.settings = repositories.settings(self.repository)
        self.kept = self.data / PRIVATE / NAME

    def write(self, records=1):
        backing_up.upsert(self.url, "books", range(self.records, self.records + records))
        self.records += records

    def make(self, kind="auto", settings=None, **wanted):
        return backing_up.make(self.data, settings or self.settings, kind, **{"verify": False, **wanted})["backup"]

    def chain(self, settings=None):
        """Return the ids of the newest chain, all of which is there."""
        backups = backing_up.catalogue(settings or self.settings)
        chain = backups.chain(backups.newest())
        assert chain.restorable
        return [each.id for each in chain.backups]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    base = tmp_path_factory.mktemp("kept")
    (base / "data").mkdir()
    with servers.running(servers.VERSIONS[-1], data=base / "data") as server:
        found = Served(server, base)
        found.write(200)
        found.make("full")
        yield found


@pytest.fixture
def started(monkeypatch):
    """Return the commands of restic that were started."""
    commands, command = [], Restic._command

    def noted(self, *arguments):
        commands.append(arguments[0])
        return command(self, *arguments)

    monkeypatch.setattr(Restic, "_command", noted)
    return commands


def test_an_increment_starts_restic_once(served, started):
    before = served.chain()
    started.clear()
    served.write()
    assert served.make("increment")["parent"] == before[-1]
    served.write()
    assert served.make("increment")["chain"] == served.chain()
    assert started[:2] == ["backup", "backup"]
    # That nothing has changed is not said of a repository that nobody could open.
    started.clear()
    assert served.make("increment")["id"] == served.chain()[-1]
    assert started[0] == "snapshots"


def test_one_that_is_verified_is_kept_under_the_id_that_it_has_then(served, started):
    served.write()
    served.make("increment", verify=True)
    served.write()
    started.clear()
    made = served.make("increment")
    assert started == ["backup"]
    assert made["chain"] == served.chain()


def absent(served):
    served.kept.unlink()


def damaged(served):
    content = bytearray(served.kept.read_bytes())
    content[len(content) // 2] ^= 4
    served.kept.write_bytes(content)


def stale(served):
    content = served.kept.read_bytes()
    served.write()
    served.make("increment")
    served.kept.write_bytes(content)


def retagged(served):
    repository = backing_up.open_repository(served.settings)
    repository.retag(repository.snapshots()[-1].snapshot, ["note=1"])


def pruned(served):
    newest = backing_up.catalogue(served.settings).newest()
    assert repositories.by_hand(served.settings, "forget", newest.snapshot).returncode == 0


def of_another_repository(served):
    other = repositories.settings(served.repository.with_name("another"))
    assert served.make(settings=other)["kind"] == "full"
    served.write()
    assert served.make(settings=other)["chain"] == served.chain(other)


@pytest.mark.parametrize("happens", [absent, damaged, stale, retagged, pruned, of_another_repository])
def test_what_is_not_as_it_was_is_asked_of_restic(happens, served, started):
    served.write()
    served.make("increment")
    happens(served)
    newest = served.chain()[-1]
    served.write()
    started.clear()
    made = served.make("increment")
    assert {"snapshots", "restore"} & set(started)
    assert made["parent"] == newest
    assert served.chain()[-2:] == [newest, made["id"]]


def test_a_chain_of_such_increments_is_proven_by_chroma(served, tmp_path):
    newest = served.chain()[-1]
    drill = backing_up.options(served.settings, path=served.data, backup=newest)
    said = backing_up.run("chroma_backup_drill", drill, tmp_path)
    assert not said.get("failed"), said
    assert backing_up.catalogue(served.settings).require(newest).records == served.records


@pytest.mark.parametrize("kind", ["increment", "full"])
@pytest.mark.parametrize("changes", [True, False])
def test_a_wrong_password_is_told_and_leaves_nothing(kind, changes, served):
    served.write()
    served.make("increment")
    wrong, before = repositories.settings(served.repository, password="another"), served.chain()
    if changes:
        served.write()
    with pytest.raises(ChromaError) as refused:
        served.make(kind, wrong)
    assert refused.value.code == "wrong_password"
    assert served.chain() == before
    assert backing_up.leftovers(served.data) == []
    assert served.make("increment")["chain"] == (served.chain() if changes else before)


def test_after_a_restore_and_after_its_undoing_what_was_kept_counts_for_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    with servers.running(servers.VERSIONS[-1], data=tmp_path / "data") as server:
        served = Served(server, tmp_path)
        served.write(100)
        first = served.make(verify=True)["id"]
        served.write(20)
        served.make("increment", verify=True)
    lineage = served.kept.with_name("lineage")
    kept, past, place = served.kept.read_bytes(), lineage.read_bytes(), backing_up.options(served.settings, path=served.data)
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(served.repository, before)
    said = backing_up.run("chroma_restore", {**place, "backup": first}, tmp_path)
    assert not said.get("failed"), said
    with servers.running(servers.VERSIONS[-1], data=served.data) as server:
        backing_up.upsert(server.url, "books", range(100, 130), seed=7)
    assert not lineage.exists()
    # As if repository and directory had forgotten the restore: the rows themselves tell that this is another history.
    served.repository.rename(after)
    before.rename(served.repository)
    served.kept.write_bytes(kept)
    lineage.write_bytes(past)
    with pytest.raises(ChromaError) as refused:
        served.make("increment")
    assert refused.value.code == "broken_chain"
    shutil.rmtree(served.repository)
    after.rename(served.repository)
    lineage.unlink()
    assert served.kept.read_bytes() == kept
    made = served.make()
    assert (made["kind"], made["records"]) == ("full", 130)
    kept = served.kept.read_bytes()
    said = backing_up.run("chroma_restore_undo", place, tmp_path)
    assert not said.get("failed"), said
    served.kept.write_bytes(kept)
    made = served.make()
    assert (made["kind"], made["records"]) == ("full", 120)
