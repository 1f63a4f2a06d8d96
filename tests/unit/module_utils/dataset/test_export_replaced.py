# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a dataset is already, or another export writes: one whole dataset is left, and nothing of others is removed."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from dataclasses import replace
from functools import partial

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset import export as exports
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.destination import STATE
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, check_part, open_store, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.writer import overlapped
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.tests.unit.module_utils.dataset.numbered import (
    WANTED,
    Numbers,
    bucket_at,
    check_whole,
    code_of,
    ids_of,
)


@pytest.mark.parametrize("refused", [STATE, "manifest.json", "VDF_META.json"])
def test_an_upload_that_fails_removes_nothing(refused, tmp_path):
    folder = tmp_path / "set"
    export(Numbers({"a": 45}), bucket_at(folder), WANTED)
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file() and each.name != "VDF_META.json"}
    changed, again = Numbers({"a": 60}, fingerprint="other"), replace(WANTED, overwrite=True)
    assert code_of(changed, bucket_at(folder, refused), again) == "unavailable"
    assert before.items() <= {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}.items()
    export(changed, bucket_at(folder), again)
    check_whole(folder, 60)


class Meanwhile(Numbers):
    """A source during whose reading something happens, once."""

    happens = None

    def batches(self, collection, start):
        for number, batch in enumerate(super().batches(collection, start)):
            if number == 2 and self.happens:
                happens, self.happens = self.happens, None
                happens()
            yield batch


@pytest.fixture
def in_turn(monkeypatch):
    """Let an export read on only when what it has read is written, so that what happens meanwhile happens at one point."""
    monkeypatch.setattr(exports, "overlapped", partial(overlapped, depth=0))


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("fingerprint", ["f", "other"])
@pytest.mark.parametrize("dies", [True, False])
def test_of_two_exports_to_one_prefix_the_one_that_is_done_stays(dies, fingerprint, tmp_path):
    """The second begins while the first has not, reads while the first is done, then dies, or wants to finish too."""
    second = Meanwhile({"a": 95}, fails_after=5 if dies else None, fingerprint=fingerprint)
    done = []
    second.happens = lambda: done.append(export(Numbers({"a": 45}), bucket_at(tmp_path), WANTED))
    assert code_of(second, bucket_at(tmp_path), WANTED) in (("unreachable", "busy") if dies else ("busy",))
    assert done[0]["changed"] is True
    for part in read_manifest(bucket_at(tmp_path)).collections[0].parts:
        check_part(bucket_at(tmp_path), part)
    export(Numbers({"a": 60}, fingerprint="third"), bucket_at(tmp_path), replace(WANTED, overwrite=True))
    check_whole(tmp_path, 60)


@pytest.mark.usefixtures("in_turn")
def test_of_two_exports_to_one_prefix_the_one_that_was_overtaken_stops(tmp_path):
    """The second takes over what the first has finished, and dies: the first must not go on with its state."""
    first = Meanwhile({"a": 95})
    first.happens = lambda: code_of(Numbers({"a": 95}, fails_after=5), bucket_at(tmp_path), WANTED)
    assert code_of(first, bucket_at(tmp_path), WANTED) == "busy"
    assert export(Numbers({"a": 95}), bucket_at(tmp_path), WANTED)["resumed_parts"] > 0
    check_whole(tmp_path, 95)


@pytest.mark.parametrize("way", [open_store, bucket_at])
def test_a_dataset_whose_part_is_gone_is_not_called_unchanged(way, tmp_path):
    folder = tmp_path / "set"
    export(Numbers({"a": 45}), way(str(folder)), WANTED)
    part = next(folder.rglob("part-00001*.parquet"))
    for spoil in (part.unlink, lambda: part.write_bytes(b"short")):
        spoil()
        with pytest.raises(ChromaError) as caught:
            export(Numbers({"a": 45}), way(str(folder)), WANTED)
        assert caught.value.code == "manifest_mismatch"
        assert "overwrite" in caught.value.hint
    assert export(Numbers({"a": 45}), way(str(folder)), replace(WANTED, overwrite=True))["changed"] is True
    check_whole(folder, 45)


@pytest.mark.parametrize("beside", ["set.partial", "set.replaced"])
def test_directories_of_others_beside_the_destination_stay(beside, tmp_path):
    export(Numbers({"a": 5}), open_store(str(tmp_path / "set")), WANTED)
    (tmp_path / beside / "deep").mkdir(parents=True)
    (tmp_path / beside / "deep" / "mine.txt").write_text("mine")
    arguments = (Numbers({"a": 45}, fingerprint="other"), open_store(str(tmp_path / "set")), replace(WANTED, overwrite=True))
    assert code_of(*arguments) == "not_empty"
    assert (tmp_path / beside / "deep" / "mine.txt").read_text() == "mine"
    check_whole(tmp_path / "set", 5)
    shutil.rmtree(tmp_path / beside)
    export(*arguments)
    check_whole(tmp_path / "set", 45)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("replaces", [True, False])
def test_a_dataset_that_lacks_its_name_only_gets_it(replaces, tmp_path, monkeypatch):
    """Killed after the first of two renames, or before the only one."""
    if replaces:
        export(Numbers({"a": 5}, fingerprint="other"), open_store(str(tmp_path / "set")), WANTED)
    rename = os.rename

    def die(old, new):
        if str(old).endswith(".partial"):
            raise KeyboardInterrupt
        rename(old, new)

    wanted = replace(WANTED, overwrite=replaces)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            export(Numbers({"a": 45}), open_store(str(tmp_path / "set")), wanted)
    assert not (tmp_path / "set").exists()
    again = Numbers({"a": 45})
    assert export(again, open_store(str(tmp_path / "set")), WANTED)["changed"] is False
    assert again.read == []
    check_whole(tmp_path / "set", 45)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize("local", [True, False])
def test_wherever_the_removal_of_the_old_is_cut_short_the_next_run_ends_it(local, tmp_path, monkeypatch):
    way = open_store if local else bucket_at
    for survived in range(6):
        folder = tmp_path / str(survived) / "set"
        assert code_of(Numbers({"a": 95}, fails_after=8), way(str(folder)), WANTED) == "unreachable"
        left = itertools.count(survived, -1)

        def remove(store, path, left=left, remove=Store.remove):
            if next(left) <= 0:
                raise KeyboardInterrupt
            remove(store, path)

        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Store, "remove", remove)
            export(Numbers({"a": 45}, fingerprint="other"), way(str(folder)), WANTED)
        export(Numbers({"a": 45}, fingerprint="other"), way(str(folder)), WANTED)
        check_whole(folder, 45)
        assert [each.name for each in folder.parent.iterdir()] == ["set"]


def test_what_was_replaced_and_cannot_be_removed_is_said_and_removed_by_the_next_run(tmp_path, monkeypatch):
    folder = tmp_path / "set"
    export(Numbers({"a": 95}), open_store(str(folder)), WANTED)
    remove = shutil.rmtree

    def refusing(path, *rest, **options):
        if str(path).endswith(".replaced/collections"):
            raise PermissionError(13, "Permission denied")
        remove(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refusing)
        with pytest.raises(ChromaError, match="Could not remove what was replaced"):
            export(Numbers({"a": 45}, fingerprint="other"), open_store(str(folder)), replace(WANTED, overwrite=True))
        # The new one is whole, and of the old one it can still be told whose it is.
        assert ids_of(folder, "a") == [f"a-{number}" for number in range(45)]
        assert (tmp_path / "set.replaced" / "manifest.json").is_file()
    export(Numbers({"a": 45}, fingerprint="other"), open_store(str(folder)), replace(WANTED, overwrite=True))
    check_whole(folder, 45)
    assert [each.name for each in tmp_path.iterdir()] == ["set"]
