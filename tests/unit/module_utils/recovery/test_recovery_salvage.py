# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of an index, damaged: what is read of it is right, and the rest is left out."""

from __future__ import annotations

import pickle
import shutil
import struct

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import VectorFile, read_header
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.labels import read_labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.salvage import Salvage, guess_header, look


@pytest.fixture
def folder(pattern, tmp_path):
    """A healthy index of 60 vectors of 4 numbers."""
    shutil.copytree(pattern, tmp_path / "data")
    return next(each.parent for each in (tmp_path / "data").glob("*/header.bin"))


@pytest.fixture
def truth(folder):
    """What it holds: id → vector."""
    labels = read_labels(folder)
    with VectorFile(folder) as vectors:
        numbers, _deleted = vectors.labels()
        rows = {int(label): row for row, label in enumerate(numbers)}
        places = np.array([rows[int(each)] for each in labels.labels])
        return dict(zip(labels.ids.to_pylist(), vectors.vectors(places).tolist(), strict=True))


def content(salvage, ids=None):
    """Return what is recovered: id → vector, None where there is none."""
    found = {}
    for batch in salvage.batches(ids):
        for name, vector in zip(batch.column("id").to_pylist(), batch.column("vector").to_pylist(), strict=True):
            assert name not in found
            found[name] = vector
    return found


def opened(folder, dimensions=(4,), space="l2"):
    return Salvage(look(folder, dimensions), "books", space)


def rewrite(folder, change):
    """Change the label map, which is written as 1.5 does."""
    path = folder / "index_metadata.pickle"
    loaded = pickle.loads(path.read_bytes())  # ours, of a moment ago
    change(loaded)
    path.write_bytes(pickle.dumps(loaded, protocol=4))


def test_a_healthy_index_gives_all_of_it(folder, truth):
    salvage = opened(folder)
    assert content(salvage) == truth
    assert (salvage.holding.records, salvage.holding.vectors, salvage.labelled) == (60, 60, True)


def test_some_ids_are_asked_for(folder, truth):
    wanted = [*list(truth)[10:13], "nobody"]
    assert content(opened(folder), pa.array(wanted)) == {name: truth[name] for name in wanted[:3]}


@pytest.mark.parametrize(
    "spoil", [b"", b"\0" * 100, bytes(range(100)), struct.pack("<i6QiI3QdQ", 1, 0, 5, 9, 8, 0, 4, 0, 0, 16, 32, 16, 0.0, 100)]
)
def test_a_torn_header_is_found_out_from_the_labels(folder, truth, spoil):
    (folder / "header.bin").write_bytes(spoil)
    salvage = opened(folder, (3, 4, 8))
    assert content(salvage) == truth


def test_without_header_and_label_map_the_layout_is_found_out_all_the_same(folder, truth):
    (folder / "header.bin").unlink()
    (folder / "index_metadata.pickle").unlink()
    salvage = opened(folder, (3, 8, 4))
    assert sorted(content(salvage).values()) == sorted(truth.values())
    assert not salvage.labelled


def test_without_a_header_a_wrong_dimension_is_not_taken(folder):
    labels = read_labels(folder)
    assert guess_header(folder, (3, 5, 6, 7, 8, 16, 384), labels, (32, 16, 64)) is None
    assert guess_header(folder, (3, 5, 6, 7, 8, 16, 384), None, (32, 16, 64)) is None


def test_the_capacity_of_an_index_that_is_not_used_up_is_no_vector(folder, truth):
    size = read_header(folder).element_bytes
    with (folder / "data_level0.bin").open("ab") as file:
        file.write(b"\0" * size * 40)
    (folder / "header.bin").write_bytes(b"")
    (folder / "index_metadata.pickle").unlink()
    assert len(content(opened(folder))) == len(truth)


def test_vectors_that_are_cut_off_leave_ids_without_one(folder, truth):
    size = read_header(folder).element_bytes
    path = folder / "data_level0.bin"
    path.write_bytes(path.read_bytes()[: 20 * size + 7])
    found = content(opened(folder))
    assert set(found) == set(truth)
    there = {name: vector for name, vector in found.items() if vector is not None}
    assert len(there) == 20
    assert there == {name: truth[name] for name in there}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_label_map_that_is_cut_off_gives_what_came_before_the_cut(folder, truth, share):
    path = folder / "index_metadata.pickle"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(Damaged):
        read_labels(folder)
    found = content(opened(folder))
    assert found == {name: truth[name] for name in found}
    assert len(found) > (0 if share < 0.5 else 25)


def test_a_label_map_whose_last_blocks_are_zeros_gives_what_came_before(folder, truth):
    path = folder / "index_metadata.pickle"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 4] + b"\0" * (len(raw) - len(raw) // 4))
    found = content(opened(folder))
    assert found
    assert found == {name: truth[name] for name in found}


def test_ids_with_one_label_and_pairs_that_the_halves_contradict_are_left_out(folder, truth):
    names = list(truth)

    def change(loaded):
        forward = loaded["id_to_label"]
        forward[names[0]] = forward[names[1]]  # two ids, one label
        loaded["label_to_id"][forward[names[2]]] = names[3]

    rewrite(folder, change)
    found = content(opened(folder))
    assert not {names[0], names[1], names[2]} & set(found)
    assert found == {name: truth[name] for name in found}
    assert len(found) >= len(truth) - 4


def test_a_label_map_that_would_run_code_is_as_none_and_runs_nothing(folder, truth, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (folder / "index_metadata.pickle").write_bytes(pickle.dumps({"id_to_label": {"a": 1}, "x": Bomb()}))
    salvage = opened(folder)
    assert not salvage.labelled
    assert sorted(content(salvage).values()) == sorted(truth.values())
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_vector_that_is_no_numbers_is_none(folder, truth, bad):
    header = read_header(folder)
    with (folder / "data_level0.bin").open("r+b") as file:
        file.seek(7 * header.element_bytes + header.vector_offset)
        file.write(struct.pack("<f", bad))
    assert sum(vector is None for vector in content(opened(folder)).values()) == 1


def test_without_vectors_there_is_nothing(folder):
    (folder / "data_level0.bin").unlink()
    index = look(folder, (4,))
    assert index.header is None
    with pytest.raises(Damaged):
        Salvage(index, "books", "l2")


def test_in_space_cosine_without_lengths_vectors_have_length_one_and_it_is_said(folder, truth):
    (folder / "length.bin").unlink(missing_ok=True)
    salvage = opened(folder, space="cosine")
    assert salvage.scaled
    assert content(salvage) == truth
