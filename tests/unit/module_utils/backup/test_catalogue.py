# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the catalogue: what the tags say, chains, what is the newest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of, holds
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import MOST_TAGGED, parse_backup, tags_of, verified_tags
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.views import as_result, select
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot, check_tags
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest

from .conftest import MIGRATIONS, NOW, SCHEMA, collection


def test_the_tags_say_what_the_manifest_does(shelf):
    first = shelf.add(names=("books", "maps"))
    second = shelf.add("increment", parent=first)
    found = shelf.catalogue.require(second)
    assert (found.kind, found.parent, found.base, found.number) == ("increment", first, first, 2)
    assert (found.mode, found.pause_seconds, found.schema, found.position, found.records) == ("hot", 0.125, SCHEMA, 14, 3)
    assert (found.bytes, found.added_bytes, found.chroma, found.verified, found.verify_seconds) == (1000, 600, "1.5.9", NOW, 1.5)
    whole = shelf.catalogue.require(first)
    assert whole.collections == ("default_tenant/default_database/books", "default_tenant/default_database/maps")
    assert (whole.collection_count, whole.records, whole.pending, whole.parent) == (2, 6, False, "")


def test_names_of_tenants_with_commas_and_spaces_survive_in_tags():
    odd = collection(tenant="a, b=c/ü", database="x,y")
    manifest = BackupManifest(
        "20260831T120000Z-000001", "full", "", "hot", chroma_version="1.5.9, ours", migrations=MIGRATIONS, collections=(odd,)
    )
    tags = check_tags(("thinkube.chroma", *tags_of(manifest, 1, *verified_tags(NOW, 2.0))))
    found = parse_backup(Snapshot("a" * 64, NOW, tags, "host"))
    assert found.collections == ("a, b=c/ü/x,y/books",)
    assert (found.chroma, found.verified) == ("1.5.9, ours", NOW)


def test_of_many_collections_only_the_manifest_knows(shelf):
    names = [f"collection-{number}" for number in range(MOST_TAGGED + 1)]
    many, few = shelf.add(names=names), shelf.add(names=["books"])
    found = shelf.catalogue.require(many)
    assert holds(found, "collection-0") is True
    assert holds(found, f"collection-{MOST_TAGGED}") is None
    found = shelf.catalogue.require(few)
    assert holds(found, "default_tenant/default_database/books") is True
    assert holds(found, "maps") is False


def test_what_is_not_ours_is_left_out():
    tags = ("id=20260831T120000Z-000001", "kind=full")
    assert parse_backup(Snapshot("a" * 64, NOW, tags, "host")) is None
    assert parse_backup(Snapshot("a" * 64, NOW, ("thinkube.chroma", "id=../../etc"), "host")) is None
    assert catalogue_of([Snapshot("a" * 64, NOW, tags, "host")]).backups == ()


def test_tags_that_can_not_be_read_count_as_absent():
    tags = ("thinkube.chroma", "id=20260831T120000Z-000001", "records=many", "position=-3", "verified=yesterday", "pause-seconds=x")
    found = parse_backup(Snapshot("a" * 64, NOW, tags, "host"))
    assert (found.records, found.position, found.verified, found.pause_seconds, found.number) == (0, 0, None, 0.0, 0)


def test_the_number_says_which_is_the_newest_and_not_the_clock(shelf):
    shelf.add(age=-24 * 365)
    second = shelf.add(age=1)
    assert shelf.catalogue.newest().id == second
    assert [each.id for each in shelf.catalogue.backups][-1] == second
    assert shelf.catalogue.next_number == 3


def test_without_numbers_the_clock_decides(shelf):
    shelf.add(age=2, number=0)
    second = shelf.add(age=1, number=0)
    assert shelf.catalogue.newest().id == second


def test_a_chain_is_from_the_base_to_the_backup(shelf):
    names = shelf.chain(4)
    chain = shelf.catalogue.chain(shelf.catalogue.require(names[-1]))
    assert [each.id for each in chain.backups] == names
    assert chain.restorable
    assert {each.id for each in shelf.catalogue.followers(shelf.catalogue.require(names[1]))} == set(names[2:])


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_chain_that_lacks_one_names_it(shelf, lost):
    names = shelf.chain(4)
    shelf.without(names[lost])
    chain = shelf.catalogue.chain(shelf.catalogue.require(names[-1]))
    assert (chain.restorable, chain.missing) == (False, names[lost])
    said = as_result(shelf.catalogue, shelf.catalogue.require(names[-1]))
    assert (said["restorable"], said["missing"], said["chain"]) == (False, names[lost], names[lost + 1 :])
    # Nothing can follow on what can't be restored.
    assert shelf.catalogue.newest() == (shelf.catalogue.require(names[lost - 1]) if lost else None)


def test_increments_that_follow_on_each_other_or_on_a_collection_are_no_chain(shelf):
    alone = shelf.add("collection")
    child = shelf.add("increment", parent=alone)
    assert not shelf.catalogue.chain(shelf.catalogue.require(child)).restorable
    one, two = replace(shelf.catalogue.require(child), parent="b"), replace(shelf.catalogue.require(child), id="b", parent=child)
    catalogue = type(shelf.catalogue)((one, two), {child: one, "b": two})
    assert not catalogue.chain(one).restorable


def test_what_is_pending_is_no_parent(shelf):
    first = shelf.add()
    shelf.add(pending=True)
    shelf.add(verified=False)
    assert shelf.catalogue.newest(verified=True).id == first
    assert shelf.catalogue.newest().kind == "full"
    assert shelf.catalogue.newest().verified is None


def test_of_two_snapshots_of_one_backup_the_verified_one_counts(shelf):
    name = shelf.add()
    done = shelf.snapshots[0]
    begun = replace(done, snapshot="f" * 64, tags=(*(tag for tag in done.tags if not tag.startswith("verif")), "pending"))
    for order in ([done, begun], [begun, done]):
        found = catalogue_of(order).require(name)
        assert (found.snapshot, found.twins, found.pending) == (done.snapshot, (begun.snapshot,), False)
        assert set(found.snapshots) == {done.snapshot, begun.snapshot}


@pytest.mark.parametrize("other", [{"tree": "another"}, {"time": NOW - timedelta(days=1)}])
def test_what_has_the_id_of_another_backup_but_is_another_is_no_twin(shelf, other):
    name = shelf.add()
    mine = shelf.snapshots[0]
    copied = replace(mine, snapshot="f" * 64, tags=tuple(tag for tag in mine.tags if not tag.startswith("verif")), **other)
    for order in ([mine, copied], [copied, mine]):
        assert catalogue_of(order).require(name).snapshots == (mine.snapshot,)


def test_a_chain_is_verified_where_each_part_is(shelf):
    proven = shelf.add(age=60)
    loose = shelf.add(age=50, verified=False)
    follower = shelf.add("increment", age=1, parent=loose)
    found = shelf.catalogue
    assert found.require(follower).verified
    assert not found.chain(found.require(follower)).verified
    assert (found.newest(verified=True).id, found.newest().id) == (proven, follower)
    said = as_result(found, found.require(follower))
    assert (said["restorable"], said["chain_verified"]) == (True, False)
    assert as_result(found, found.require(proven))["chain_verified"]


def test_backups_of_another_directory_are_not_followed(shelf):
    mine, other, nobodys = shelf.add(instance="a" * 16), shelf.add(instance="b" * 16), shelf.add()
    assert [each.id for each in shelf.catalogue.of("a" * 16).backups] == [mine, nobodys]
    assert [each.id for each in shelf.catalogue.of("").backups] == [mine, other, nobodys]
    assert shelf.catalogue.require(mine).instance == "a" * 16


def test_what_chroma_opened_and_which_image_it_was_is_in_the_tags():
    manifest = BackupManifest("20260831T120000Z-000001", "full", "", "hot", chroma_image="docker.io/chromadb/chroma@sha256:0b1c")
    tags = check_tags(("thinkube.chroma", *tags_of(manifest, 1, *verified_tags(NOW, 2.0, opened=True))))
    found = parse_backup(Snapshot("a" * 64, NOW, tags, "host"))
    assert (found.image, found.opened) == ("docker.io/chromadb/chroma@sha256:0b1c", True)
    assert "opened" not in verified_tags(NOW, 2.0)


def test_an_unknown_id_is_answered_with_those_that_there_are(shelf):
    name = shelf.add()
    with pytest.raises(ChromaError) as refused:
        shelf.catalogue.require("20200101T000000Z-abcdef")
    assert refused.value.code == "not_found"
    assert name in refused.value.hint


def test_select_filters_and_begins_with_the_newest(shelf):
    full = shelf.add(age=48)
    increment = shelf.add("increment", age=24, parent=full)
    alone = shelf.add("collection", age=1, names=("maps",), verified=False)

    def ids(**wanted):
        return [each.id for each in select(shelf.catalogue, **wanted)]

    assert ids() == [alone, increment, full]
    assert ids(kind="increment") == [increment]
    assert ids(collection="maps") == [alone]
    assert ids(verified=True) == [increment, full]
    assert ids(verified=False) == [alone]
    assert ids(since=NOW - timedelta(hours=24)) == [alone, increment]
