# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that have gone back: whatever is written to them afterwards, a backup holds that, and what others make is left alone.

Who runs yesterday's job again writes the same ids at the same places of the log, with other vectors: nothing in the data tells it.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import backing_up
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import RestoreRequest, Surroundings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import restore
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# The index is saved, and the log purged, while all this is written.
SETTINGS = {"sync_threshold": 40, "batch_size": 10}
RECORDS, CHANGED = 400, range(100, 150)


def write(data: Path, *batches: tuple[range, int]) -> dict[str, list[float]]:
    """Write records, each batch by another job; return the vectors that Chroma has then."""
    with servers.running(servers.VERSIONS[-1], data=data) as server:
        client = ChromaClient(Connection(server.url, timeout=120))
        books = client.get_collection("books") or client.create_collection("books", {}, SETTINGS)
        for numbers, job in batches:
            for start in range(numbers.start, numbers.stop, 50):
                some = range(start, min(start + 50, numbers.stop))
                vectors = [[float(job), float(each), 0.5, 0.5] for each in some]
                body = {"ids": [f"id-{each}" for each in some], "embeddings": vectors, "documents": [f"by {job}" for _each in some]}
                client.write(books, "upsert", json.dumps(body).encode())
        return {each["id"]: each["embedding"] for each in client.get(books, page=1000)}


class Past:
    """A directory and its repository: a full backup, and an increment that has what a job changed."""

    def __init__(self, root: Path) -> None:
        self.data, self.repository = root / "data", root / "repository"
        self.settings = repositories.settings(self.repository)

    def make(self, data: Path | None = None, **wanted: object):
        return backing_up.make(data or self.data, self.settings, **{"verify": False, **wanted})

    def restore(self, name: str, repository: Path | None = None, data: Path | None = None, undo: bool = False):
        settings = repositories.settings(repository or self.repository)
        count = len(list((data or self.data).parent.iterdir())) + len(backing_up.catalogue(settings).backups)
        return restore(Surroundings(partial(open_repository, settings)), RestoreRequest(data or self.data, f"op-{count}", name, undo=undo))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    past = Past(tmp_path_factory.mktemp("past"))
    past.data.mkdir()
    write(past.data, (range(RECORDS), 1))
    full = past.make()["backup"]["id"]
    # As a VolumeSnapshot has it.
    shutil.copytree(past.data, past.data.with_name("snapshot"))
    write(past.data, (CHANGED, 2))
    made = past.make()["backup"]
    assert made["kind"] == "increment"
    return past, full, made["id"]


@pytest.fixture
def past(begun, tmp_path):
    """The past and the ids of its two backups, for one test alone."""
    for each in ("data", "repository", "snapshot"):
        shutil.copytree(begun[0].data.with_name(each), tmp_path / each)
    return Past(tmp_path), *begun[1:]


def lost(past, full):
    shutil.rmtree(past.data)
    past.data.mkdir()
    said = past.restore(full)
    # It may be a second one, and the first one alive: that is for people to know.
    assert [each for each in said["warnings"] if "goes on as" in each and str(past.data / PRIVATE / "instance") in each], said["warnings"]
    return "restored since"


def from_another_repository(past, full):
    other = past.repository.with_name("other")
    shutil.copytree(past.repository, other)
    assert not [each for each in past.restore(full, other)["warnings"] if "goes on as" in each]
    return "restored since"


def rolled_back(past, _full):
    shutil.rmtree(past.data)
    past.data.with_name("snapshot").rename(past.data)
    return "does not know"


@pytest.mark.parametrize("goes_back", [lost, from_another_repository, rolled_back])
def test_after_a_directory_has_gone_back_its_backup_holds_what_was_written_since(goes_back, past, tmp_path):
    past, full, increment = past
    reason = goes_back(past, full)
    # The same job once more, and others: the log is where it was, and beyond.
    now = write(past.data, (CHANGED, 3), (range(200, RECORDS), 4))
    assert [each[0] for each in now.values()].count(3.0) == len(CHANGED)
    with pytest.raises(ChromaError, match=reason) as refused:
        past.make(kind="increment")
    assert refused.value.code == "no_base"
    planned = past.make(check=True)
    made = past.make()
    assert (made["backup"]["kind"], planned["plan"]) == ("full", made["plan"])
    assert reason in made["plan"]["reason"]
    assert increment in made["plan"]["reason"]
    assert write(past.data, (range(0, 10), 5)) != now
    followed = past.make()["backup"]
    assert (followed["kind"], followed["parent"]) == ("increment", made["backup"]["id"])
    new = tmp_path / "new"
    new.mkdir()
    past.restore("latest", data=new)
    assert write(new) == write(past.data)


def test_an_undo_from_another_repository_ends_what_was_made_before_it(past):
    past, full, _increment = past
    other = past.repository.with_name("other")
    shutil.copytree(past.repository, other)
    past.restore(full, other)
    made = past.make()["backup"]
    assert (made["kind"], made["records"]) == ("full", RECORDS)
    past.restore("latest", other, undo=True)
    made = past.make()
    assert made["backup"]["kind"] == "full"
    assert "restored since" in made["plan"]["reason"]


def test_where_the_repository_is_not_mounted_none_is_made(past):
    past, _full, _increment = past
    write(past.data, (range(10), 9))
    made = past.make()["backup"]["id"]
    away = past.repository.with_name("not-mounted")
    past.repository.rename(away)
    for check in (True, False):
        with pytest.raises(ChromaError) as refused:
            past.make(check=check)
        assert refused.value.code == "no_repository"
        assert "Mount its volume" in refused.value.hint
        assert not past.repository.exists()
    away.rename(past.repository)
    assert past.make()["backup"]["id"] == made
    # It is lost, and somebody does what the hint says.
    past.repository.rename(away)
    (past.data / PRIVATE / "instance").unlink()
    made = past.make()
    assert (made["backup"]["kind"], made["repository_created"]) == ("full", True)


def test_a_second_directory_that_shall_not_be_the_first_one_gets_backups_of_its_own(past, tmp_path):
    past, full, increment = past
    second = tmp_path / "second"
    second.mkdir()
    past.restore(full, data=second)
    (second / PRIVATE / "instance").unlink()
    write(second, (range(10), 6))
    assert past.make(second)["backup"]["kind"] == "full"
    assert past.make()["backup"]["id"] == increment
    write(past.data, (range(10), 7))
    assert past.make()["backup"]["parent"] == increment


def test_a_copy_of_a_directory_leaves_alone_what_the_original_makes(past, tmp_path):
    past, _full, _increment = past
    write(past.data, (range(10), 8))
    with backing_up.started("chroma_backup", backing_up.options(past.settings, path=past.data), tmp_path) as process:
        backing_up.kill_at(process, past.data, "verification")
    copy = tmp_path / "copy"
    shutil.copytree(past.data, copy)
    [pending] = [each.id for each in backing_up.catalogue(past.settings).backups if each.pending]
    # The copy has its journal, too, and for it the original might be at work.
    made = past.make(copy)
    assert made["repaired"]["removed"] == []
    assert backing_up.catalogue(past.settings).find(pending)
    made = past.make()
    assert made["repaired"]["removed"] == [pending]
    assert backing_up.catalogue(past.settings).find(pending) is None
    # What the copy made is none of this one's past.
    assert made["backup"]["kind"] == "full"
