# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an HNSW index, whole and broken."""

from __future__ import annotations

import random
import resource
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import hnsw
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
ROWS, DIMENSION = 5000, 7


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an index of 5000 × 7; the label of internal row n is n + 1."""
    synthetic.write_index(tmp_path, np.random.default_rng(1), ROWS, DIMENSION)
    return tmp_path


def change(folder: Path, **fields: int) -> None:
    """Change fields of the header."""
    names = list(hnsw.Header.__dataclass_fields__)
    values = list(struct.unpack("<i6QiI3QdQ", (folder / "header.bin").read_bytes()))
    for name, value in fields.items():
        values[names.index(name)] = value
    (folder / "header.bin").write_bytes(struct.pack("<i6QiI3QdQ", *values))


def test_a_header_is_read(folder):
    header = hnsw.read_header(folder)
    assert (header.version, header.count, header.max_elements, header.dimension) == (1, ROWS, ROWS, DIMENSION)
    assert header.element_bytes == 4 + 4 * 32 + 4 * DIMENSION + 8
    assert header.data_bytes == (folder / "data_level0.bin").stat().st_size


@pytest.mark.parametrize("order", ["ascending", "descending", "random", "sparse", "twice", "one", "none"])
def test_vectors_come_in_the_order_asked_for(folder, order, monkeypatch):
    monkeypatch.setattr(hnsw, "CHUNK", 10_000)
    monkeypatch.setattr(hnsw, "_GAP_BYTES", 2_000)
    numbers = random.Random(2)
    every = list(range(ROWS))
    rows = {
        "ascending": every,
        "descending": every[::-1],
        "random": numbers.sample(every, ROWS),
        "sparse": every[::131],
        "twice": [*every[:9], *every[:9]],
        "one": [ROWS - 1],
        "none": [],
    }[order]
    whole = np.concatenate([chunk["vector"] for _first, chunk in _elements(folder)])
    with hnsw.VectorFile(folder) as file:
        assert np.array_equal(file.vectors(np.array(rows, np.int64)), whole[rows])


def _elements(folder: Path) -> list[tuple[int, np.ndarray]]:
    with hnsw.VectorFile(folder) as file:
        return list(file.elements())


def test_labels_and_deletion_marks(folder):
    data = bytearray((folder / "data_level0.bin").read_bytes())
    size = hnsw.read_header(folder).element_bytes
    for row in (0, 7, ROWS - 1):
        data[row * size + 2] |= 1
    (folder / "data_level0.bin").write_bytes(data)
    with hnsw.VectorFile(folder) as file:
        labels, deleted = file.labels()
    assert labels.tolist() == list(range(1, ROWS + 1))
    assert np.flatnonzero(deleted).tolist() == [0, 7, ROWS - 1]


def test_a_truncated_file_has_fewer_rows(folder):
    size = hnsw.read_header(folder).element_bytes
    with (folder / "data_level0.bin").open("r+b") as file:
        file.truncate(100 * size + 5)
    with hnsw.VectorFile(folder) as vectors:
        assert (vectors.rows, vectors.complete) == (100, False)
        assert len(vectors.labels()[0]) == 100
        with (folder / "data_level0.bin").open("r+b") as file:
            file.truncate(50 * size)
        with pytest.raises(Damaged, match="shorter"):
            vectors.vectors(np.arange(100))


def test_a_header_that_claims_too_much_takes_no_memory(folder):
    change(folder, count=1 << 60, max_elements=1 << 60)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with hnsw.VectorFile(folder) as file:
        assert (file.rows, file.complete) == (ROWS, False)
        assert len(file.labels()[0]) == ROWS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"count": ROWS + 1},
        {"element_bytes": 0},
        {"element_bytes": 1 << 62},
        {"label_offset": 8},
        {"vector_offset": 1 << 63},
        {"vector_offset": 0},
        {"level0_offset": 4},
        {"max_links0": 1 << 40},
        {"label_offset": 1 << 62, "element_bytes": (1 << 62) + 8},
    ],
)
def test_an_impossible_header_is_refused(folder, fields):
    change(folder, **fields)
    with pytest.raises(Damaged, match="describes"):
        hnsw.read_header(folder)


@pytest.mark.parametrize("length", [0, 1, 99, 101, 10_000])
def test_a_header_of_another_length_is_refused(folder, length):
    (folder / "header.bin").write_bytes(bytes(length))
    with pytest.raises(Damaged, match=r"bytes instead of 100"):
        hnsw.read_header(folder)


@pytest.mark.parametrize("name", ["header.bin", "data_level0.bin"])
def test_an_absent_file_is_told(folder, name):
    (folder / name).unlink()
    with pytest.raises(Damaged, match="cannot be read") as told:
        hnsw.VectorFile(folder)
    assert told.value.path == folder / name


@RELAXED
@given(content=st.binary(min_size=100, max_size=100) | st.none(), places=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255))))
def test_any_header_is_read_or_refused(folder, content, places):
    whole = bytearray(content or (folder / "header.bin").read_bytes())
    for place, value in places:
        whole[place] = value
    try:
        (folder / "fuzzed").mkdir(exist_ok=True)
        (folder / "fuzzed" / "header.bin").write_bytes(whole)
        (folder / "fuzzed" / "data_level0.bin").write_bytes(bytes(range(256)) * 20)
        with hnsw.VectorFile(folder / "fuzzed") as file:
            assert file.rows * file.header.element_bytes <= 5120
            file.labels()
            file.vectors(np.arange(file.rows))
    except Damaged:
        pass
