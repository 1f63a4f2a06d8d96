# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore says that it would do, and into which release it does nothing."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.current import Current, CurrentCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.plan import (
    check_release,
    check_replayed,
    plan_restore,
    release_of,
    schema_of_release,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.resolve import resolve
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection, BackupManifest
from ansible_collections.thinkube.chroma.tests.unit.module_utils.backup.conftest import Shelf

SCHEMAS = {
    "0.4.24": {"sysdb": 4, "metadb": 3, "embeddings_queue": 1},
    "0.5.23": {"sysdb": 9, "metadb": 4, "embeddings_queue": 2},
    "0.6.3": {"sysdb": 9, "metadb": 4, "embeddings_queue": 2},
    "1.0.20": {"sysdb": 9, "metadb": 5, "embeddings_queue": 2},
    "1.5.9": {"sysdb": 10, "metadb": 6, "embeddings_queue": 2},
}


def kept(number, name, count):
    return BackupCollection(f"{number:08}-0000-4000-8000-000000000000", name, "t", "d", {}, None, None, 4, "l2", count)


def there(number, name, count, newer=0):
    return CurrentCollection(f"{number:08}-0000-4000-8000-000000000000", f"t/d/{name}", count, newer)


def manifest(*collections, release="1.5.9", kind="full"):
    return BackupManifest(
        "20260831T120000Z-000001",
        kind,
        "2026-08-31T12:00:00.000000Z",
        "hot",
        chroma_version=release,
        migrations=SCHEMAS[release],
        collections=collections,
    )


def planned(kept_ones, current, copied=False, chain=1):
    shelf = Shelf()
    shelf.chain(chain)
    return plan_restore(resolve(shelf.catalogue), manifest(*kept_ones), current, copied)


def test_each_collection_has_its_fate_and_what_is_lost_is_added_up():
    plan = planned(
        (kept(1, "a", 10), kept(2, "b", 20), kept(3, "c", 30)), Current(True, collections=(there(1, "a", 12, 3), there(9, "new", 7, 7)))
    )
    assert [(each.label, each.fate, each.now, each.then, each.lost) for each in plan.collections] == [
        ("t/d/a", "replaced", 12, 10, 3),
        ("t/d/b", "created", 0, 20, 0),
        ("t/d/c", "created", 0, 30, 0),
        ("t/d/new", "removed", 7, 0, 7),
    ]
    assert plan.lost == 10
    assert plan.diff() == {"before": {"t/d/a": 12, "t/d/new": 7}, "after": {"t/d/a": 10, "t/d/b": 20, "t/d/c": 30}}


def test_the_table_says_what_becomes_of_each_collection_and_what_is_lost():
    plan = planned((kept(1, "a", 1000), kept(2, "b", 20)), Current(True, collections=(there(1, "a", 1200, 312), there(9, "new", 7, 7))))
    assert plan.table()[2:] == [
        "collection       before        after       lost",
        "t/d/a             1,200        1,000        312  replaced",
        "t/d/b                 0           20          0  created",
        "t/d/new               7            0          7  removed",
        "",
        "written or deleted since, and lost: 319 records; a restore point keeps what is there",
        "needs 64 MiB on the data volume",
    ]
    assert plan.table()[0].endswith("1,020 records")


def test_the_table_of_what_can_not_be_read_says_so():
    table = planned((kept(1, "a", 10),), Current(True, damaged="no database")).table()
    assert table[1] == "what is there can't be read: no database"
    assert table[4].split() == ["t/d/a", "?", "10", "?", "replaced"]
    assert table[-2].startswith("written or deleted since, and lost: nobody can tell how many records")


def test_a_collection_is_the_same_by_its_id_whatever_it_is_called_now():
    plan = planned((kept(1, "old-name", 10),), Current(True, collections=(there(1, "new-name", 10),)))
    assert [(each.label, each.fate) for each in plan.collections] == [("t/d/old-name", "replaced")]


def test_one_that_was_replayed_and_so_has_another_id_is_the_same_by_its_name():
    plan = planned((kept(1, "a", 10),), Current(True, collections=(there(2, "a", 10, 4),)))
    assert [(each.fate, each.lost) for each in plan.collections] == [("replaced", 4)]


def test_what_can_not_be_read_is_replaced_and_nobody_knows_what_is_lost():
    plan = planned((kept(1, "a", 10),), Current(True, damaged="no database"))
    assert [(each.fate, each.now, each.lost) for each in plan.collections] == [("replaced", None, None)]
    assert (plan.lost, plan.as_result()["current"]) == (None, "damaged")
    assert plan.diff()["before"] == {"damaged": "no database"}


def test_what_could_not_be_counted_is_a_warning_and_nobody_knows_what_is_lost():
    plan = planned((kept(1, "a", 10),), Current(True, migrations=SCHEMAS["1.5.9"], unread="It was written to."))
    result = plan.as_result()
    assert (result["lost_records"], result["current"], result["damaged"]) == (None, "present", "")
    assert [(each.fate, each.now, each.then, each.lost) for each in plan.collections] == [("replaced", None, 10, None)]
    [said] = plan.warnings()
    assert said.endswith("It was written to.")
    assert said in plan.table()
    assert planned((), Current(True, unread="It was written to.")).lost is None
    assert planned((kept(1, "a", 10),), Current(True)).warnings() == []


def test_of_another_history_nobody_knows_what_is_lost():
    assert planned((kept(1, "a", 10),), Current(True, collections=(there(1, "a", 2, None),))).lost is None


def test_an_empty_directory_loses_nothing():
    plan = planned((kept(1, "a", 10),), Current(False))
    assert (plan.lost, plan.as_result()["current"]) == (0, "empty")


def test_room_is_for_the_base_a_copy_and_the_increments_grown():
    assert planned((), Current(False)).needed == 1000
    assert planned((), Current(False), copied=True).needed == 2000
    assert planned((), Current(False), chain=3).needed == 1000 + 4 * 2000


@pytest.mark.parametrize("release", SCHEMAS)
def test_releases_that_were_tested_have_their_schema(release):
    assert schema_of_release(release) == schema_of_release(release, most=True) == SCHEMAS[release]
    assert schema_of_release(f"v{release}-alpine") == SCHEMAS[release]
    assert schema_of_release(release_of(SCHEMAS[release])) == SCHEMAS[release]


@pytest.mark.parametrize("made", SCHEMAS)
@pytest.mark.parametrize("server", SCHEMAS)
def test_a_backup_of_a_newer_release_is_refused_and_one_of_an_older_is_not(made, server):
    newer = any(SCHEMAS[made][name] > SCHEMAS[server][name] for name in SCHEMAS[made])
    for options in ({"server": server, "current": Current(True)}, {"server": "", "current": Current(True, migrations=SCHEMAS[server])}):
        if newer:
            with pytest.raises(ChromaError, match="does not know") as caught:
                check_release(manifest(release=made), here="1.5.9", **options)
            assert caught.value.code == "newer_backup"
            assert made in caught.value.message
        else:
            check_release(manifest(release=made), here="1.5.9", **options)


def test_an_environment_that_is_older_than_the_backup_can_not_prove_it():
    with pytest.raises(ChromaError, match="of this environment"):
        check_release(manifest(), "1.5.9", "1.0.20", Current(False))
    check_release(manifest(kind="restore-point"), "1.5.9", "1.0.20", Current(False))


def test_a_release_between_two_that_were_tested_is_judged_by_what_it_wrote():
    between = "1.4.2"
    assert schema_of_release(between) == SCHEMAS["1.0.20"]
    assert schema_of_release(between, most=True) == SCHEMAS["1.5.9"]
    check_release(manifest(), between, "1.5.9", Current(True, migrations=SCHEMAS["1.5.9"]))
    check_release(dataclasses.replace(manifest(), chroma_version=between), between, "1.5.9", Current(True, migrations=SCHEMAS["1.0.20"]))
    check_release(manifest(), between, "1.5.9", Current(False))
    with pytest.raises(ChromaError, match="metadb 6, sysdb 10"):
        check_release(manifest(), between, "1.5.9", Current(True, migrations=SCHEMAS["1.0.20"]))


@pytest.mark.parametrize("server", ["latest", "sha256:0123", ""])
def test_a_name_that_says_nothing_leaves_it_to_the_directory(server):
    check_release(manifest(), server, "1.5.9", Current(False))
    with pytest.raises(ChromaError, match=server or "wrote the data directory"):
        check_release(manifest(), server, "1.5.9", Current(True, migrations=SCHEMAS["0.6.3"]))


def test_what_could_not_be_read_does_not_say_which_release_serves_it():
    unread = Current(True, unread="It is locked.")
    with pytest.raises(ChromaError, match="It is locked") as caught:
        check_release(manifest(), "", "1.5.9", unread)
    assert (caught.value.code, "chroma_version" in caught.value.hint) == ("busy", True)
    check_release(manifest(), "1.5.9", "1.5.9", unread)
    with pytest.raises(ChromaError, match="metadb 6"):
        check_release(manifest(), "", "1.5.9", Current(True, migrations=SCHEMAS["1.0.20"], unread="It was written to."))


def test_a_replay_by_a_newer_chroma_than_the_servers_is_refused():
    """Its schema is that of this environment's Chroma, whatever the backup's was."""
    backup = manifest(release="1.0.20")
    made = dataclasses.replace(backup, migrations=SCHEMAS["1.5.9"])
    there = Current(True, migrations=SCHEMAS["1.0.20"])
    for server in ("1.0.20", ""):
        check_release(backup, server, "1.5.9", there)
        check_replayed(backup, backup, server, "1.5.9", there)
        with pytest.raises(ChromaError, match="metadb 6, sysdb 10") as caught:
            check_replayed(backup, made, server, "1.5.9", there)
        assert caught.value.code == "newer_backup"
    check_replayed(backup, made, "1.5.9", "1.5.9", there)
    check_replayed(backup, made, "", "1.5.9", Current(False))
