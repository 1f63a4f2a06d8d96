# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot that is in the repository and can't be read: it may be any backup, so nothing is decided as if it were not there."""

from __future__ import annotations

import contextlib
from functools import partial

import backing_up
import pytest
import repositories
import servers

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.drill import drill
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.listing import Filter, list_backups
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.prune import prune
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.retention import Retention
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.request import RestoreRequest, Surroundings
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.run import restore

NEWEST = servers.VERSIONS[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a data directory, and a repository with a full backup of it and an increment, both verified."""
    folder = tmp_path_factory.mktemp("unreadable")
    (folder / "data").mkdir()
    for number, kind in ((60, "full"), (80, "increment")):
        with servers.running(NEWEST, data=folder / "data") as server:
            backing_up.upsert(server.url, "books", range(number - 60, number))
        backing_up.make(folder / "data", repositories.settings(folder / "repository"), kind)
    return folder


@pytest.fixture(scope="module")
def settings(folder):
    return repositories.settings(folder / "repository")


@pytest.fixture(scope="module")
def full(settings):
    return backing_up.catalogue(settings).backups[0]


@pytest.fixture(scope="module")
def increment(settings):
    return backing_up.catalogue(settings).backups[1]


@contextlib.contextmanager
def damaged(folder, backup):
    """Flip a bit in the file of a backup's snapshot, and put it back."""
    file = folder / "repository" / "snapshots" / backup.snapshot
    content = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    yield
    file.write_bytes(content)


def planned(folder, settings, **wanted):
    around = Surroundings(partial(open_repository, settings))
    return restore(around, RestoreRequest(folder / "data", "chroma-restore-1", **wanted), check=True)


@pytest.mark.parametrize("wanted", [{}, {"as_of": "2100-01-01T00:00:00Z"}, {"undo": True}], ids=str)
def test_a_newest_one_that_is_not_known_for_sure_is_not_restored(folder, settings, full, increment, wanted):
    with damaged(folder, increment), pytest.raises(ChromaError) as refused:
        planned(folder, settings, **wanted)
    assert refused.value.code == "damaged_repository"
    assert refused.value.result["snapshots"] == [increment.snapshot]
    assert (full.id in refused.value.hint) != bool(wanted.get("undo"))


def test_one_that_is_named_is_restored_with_a_warning(folder, settings, full, increment):
    assert planned(folder, settings, backup=full.id)["warnings"] == []
    with damaged(folder, increment):
        plan = planned(folder, settings, backup=full.id)
        assert plan["backup"] == full.id
        assert increment.snapshot[:12] in "".join(plan["warnings"])
        with pytest.raises(ChromaError) as refused:
            planned(folder, settings, backup=increment.id)
    assert (refused.value.code, increment.snapshot[:12] in refused.value.hint) == ("not_found", True)


def test_a_drill_of_the_newest_one_proves_no_older_one(folder, settings, increment):
    with damaged(folder, increment), pytest.raises(ChromaError) as refused:
        drill(settings, backing_up.nobody)
    assert refused.value.code == "damaged_repository"


@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_removed_while_nobody_knows_what_is_needed(folder, settings, full, increment, check):
    there = sorted((folder / "repository").rglob("*"))
    with damaged(folder, increment):
        for wanted in ({}, {"names": [full.id]}, {"path": folder / "data"}):
            with pytest.raises(ChromaError) as refused:
                prune(settings, backing_up.nobody, Retention(1, 1), check=check, **wanted)
            assert (refused.value.code, "nothing was removed" in refused.value.message) == ("damaged_repository", True)
    assert sorted((folder / "repository").rglob("*")) == there


def test_it_is_said_where_the_backups_are_listed(folder, settings, full, increment):
    whole = list_backups(settings, Filter())
    assert (whole["unreadable"], whole["warnings"]) == ([], [])
    with damaged(folder, increment):
        listed = list_backups(settings, Filter())
    assert (listed["unreadable"], [each["id"] for each in listed["backups"]]) == ([increment.snapshot], [full.id])
    assert [increment.snapshot[:12] in line for line in (*listed["warnings"], listed["table"][-1])] == [True, True]


def test_one_that_could_not_be_read_once_is_no_reason_for_anything(folder, settings, full, increment, tmp_path):
    # It is out of the way while restic lists for the first time, and there again before anybody else looks.
    file = folder / "repository" / "snapshots" / increment.snapshot
    flaky = tmp_path / "restic"
    flaky.write_text(f"""#!/bin/sh
case "$*" in *snapshots*) [ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; mv {file} {tmp_path}/away; }};; esac
{settings.restic_path} "$@"; code=$?
[ ! -e {tmp_path}/away ] || mv {tmp_path}/away {file}
exit $code
""")
    flaky.chmod(0o700)
    # What a dead upload left is no snapshot.
    left = file.with_name(f"{'0' * 64}-tmp-1234")
    left.write_bytes(b"half")
    listed = list_backups(repositories.settings(settings.location, restic_path=str(flaky)), Filter())
    left.unlink()
    assert (tmp_path / "once").exists()
    assert (listed["unreadable"], [each["id"] for each in listed["backups"]]) == ([], [increment.id, full.id])


def test_a_full_backup_follows_also_where_the_list_of_the_last_backup_does_not_say_it(folder, settings, increment):
    with servers.running(NEWEST, data=folder / "data") as server:
        backing_up.upsert(server.url, "books", range(70, 90))
    with damaged(folder, increment):
        with pytest.raises(ChromaError) as refused:
            backing_up.make(folder / "data", settings, "increment", check=True)
        assert (refused.value.code, "can be read" in refused.value.message) == ("no_base", True)
        plan = backing_up.make(folder / "data", settings, check=True)
        assert (plan["plan"]["kind"], increment.snapshot[:12] in "".join(plan["warnings"])) == ("full", True)
        # The increment is planned by what the last backup kept, and given up when its chain is looked at.
        made = backing_up.make(folder / "data", settings)
        assert (made["backup"]["kind"], made["backup"]["records"], bool(made["backup"]["verified"])) == ("full", 90, True)
        assert increment.snapshot[:12] in "".join(made["warnings"])
    assert "can't be read" not in "".join(backing_up.make(folder / "data", settings)["warnings"])
