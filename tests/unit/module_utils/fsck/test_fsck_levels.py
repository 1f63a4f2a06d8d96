# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links above the first level: what a search can follow, and what leads it astray."""

from __future__ import annotations

import os
import random
import struct

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck import index
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.index import check_files

DIMENSION, LINKS, COUNT = 2, 4, 300
ELEMENT = 4 + 4 * 2 * LINKS + 4 * DIMENSION + 8
BLOCK = 4 + 4 * LINKS


def levels():
    """Return the level of each element; the one in the middle has the highest, and elements of level 0 are at both ends."""
    generator = random.Random(7)
    found = [generator.choice((0, 0, 0, 1, 2)) for _element in range(COUNT)]
    found[0] = found[-1] = found[-2] = 0
    found[COUNT // 2] = 3
    found[COUNT // 2 + 1] = 3
    return found


def write(folder, heights, highest=3, entry=COUNT // 2, change=None):
    """Write an index of zeros whose elements are linked to others of their levels.

    Args:
        change: changes the contents of ``link_lists.bin``: gets them as a bytearray, and where the length of each element stands.
    """
    vectors = 4 + 4 * 2 * LINKS
    label = vectors + 4 * DIMENSION
    header = struct.pack("<i6QiI3QdQ", 1, 0, COUNT, COUNT, ELEMENT, label, vectors, highest, entry, LINKS, 2 * LINKS, LINKS, 0.7, 100)
    (folder / "header.bin").write_bytes(header)
    (folder / "data_level0.bin").write_bytes(bytes(ELEMENT * COUNT))
    (folder / "length.bin").write_bytes(bytes(4 * COUNT))
    content, starts = bytearray(), []
    for row, height in enumerate(heights):
        starts.append(len(content))
        content += struct.pack("<I", height * BLOCK)
        for level in range(1, height + 1):
            others = [other for other, theirs in enumerate(heights) if theirs >= level and other != row][:LINKS]
            # What stands behind the links is of no account.
            content += struct.pack(f"<I{LINKS}I", len(others), *others, *[1_000_000] * (LINKS - len(others)))
    if change:
        change(content, starts)
    (folder / "link_lists.bin").write_bytes(content)


def found(folder):
    return [(each.kind.id, each.subject) for each in check_files(folder, DIMENSION).findings]


def put(content, place, *numbers):
    struct.pack_into(f"<{len(numbers)}I", content, place, *numbers)


@pytest.mark.parametrize("piece", [1, 7, 64, index._PIECE])
def test_a_whole_index_is_accepted_in_whatever_pieces_it_is_read(piece, monkeypatch, tmp_path):
    monkeypatch.setattr(index, "_PIECE", piece)
    write(tmp_path, levels())
    assert found(tmp_path) == []


ENTRY = COUNT // 2
# The second element above the first level: the first one leads to it.
SECOND = [row for row, level in enumerate(levels()) if level][1]


@pytest.mark.parametrize("piece", [7, index._PIECE])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda content, _starts: put(content, 0, *[0] * (len(content) // 4)), "ends at level 0", id="zeros"),
        pytest.param(lambda content, _starts: content.clear(), "ends at level 0", id="empty"),
        pytest.param(
            lambda content, starts: put(content, starts[SECOND], *[0] * ((len(content) - starts[SECOND]) // 4)),
            "on levels that these do not have",
            id="zeros at the end",
        ),
        pytest.param(lambda content, starts: put(content, starts[ENTRY], BLOCK - 4), "no multiple of 20", id="length"),
        pytest.param(lambda content, starts: put(content, starts[-1], BLOCK), "more than the file holds", id="beyond the end"),
        pytest.param(lambda content, starts: put(content, starts[ENTRY] + 4, LINKS + 1), "than there is room for", id="number"),
        pytest.param(lambda content, starts: put(content, starts[ENTRY] + 8, COUNT), "that do not exist", id="nowhere"),
        pytest.param(
            lambda content, starts: put(content, starts[ENTRY] + 8, 0), "1 elements on levels that these do not have", id="level 0"
        ),
        pytest.param(
            lambda content, starts: put(content, starts[ENTRY] + 4 + 2 * BLOCK + 4, levels().index(2)),
            "1 elements on levels that these do not have",
            id="level 2 of 3",
        ),
    ],
)
def test_what_leads_a_search_astray_is_found(change, said, piece, monkeypatch, tmp_path):
    monkeypatch.setattr(index, "_PIECE", piece)
    write(tmp_path, levels(), change=change)
    assert found(tmp_path) == [("CHR039", "link_lists.bin")]
    [only] = check_files(tmp_path, DIMENSION).findings
    assert said in only.message


def test_an_entry_point_below_the_highest_level_is_found_and_one_above_is_not(tmp_path):
    write(tmp_path, levels(), highest=3, entry=levels().index(2))
    assert found(tmp_path) == [("CHR039", "link_lists.bin")]
    write(tmp_path, levels(), highest=2)
    assert found(tmp_path) == []


def test_what_no_search_comes_by_is_none_of_its_business(tmp_path):
    def above(content, starts):
        put(content, starts[ENTRY] + 4 + 2 * BLOCK, LINKS, *[COUNT] * LINKS)

    write(tmp_path, levels(), highest=2, change=above)
    assert found(tmp_path) == []
    write(tmp_path, levels(), change=lambda content, _starts: content.extend(b"\xff" * BLOCK))
    assert found(tmp_path) == []


def test_the_last_elements_of_the_first_level_may_be_cut_off(tmp_path):
    write(tmp_path, levels(), change=lambda content, _starts: content.__delitem__(slice(-7, None)))
    assert found(tmp_path) == [("CHR036", "")]


@pytest.mark.parametrize("size", [0, 4 * COUNT])
def test_an_index_of_one_level_needs_no_file(size, tmp_path):
    write(tmp_path, [0] * COUNT, highest=0)
    os.truncate(tmp_path / "link_lists.bin", size)
    assert found(tmp_path) == []


def test_of_a_file_that_has_grown_only_what_the_elements_have_is_read(tmp_path, monkeypatch):
    write(tmp_path, levels())
    os.truncate(tmp_path / "link_lists.bin", 1 << 40)  # sparse
    assert found(tmp_path) == [("CHR037", "")]


def test_a_file_that_becomes_shorter_meanwhile_is_no_endless_loop(tmp_path, monkeypatch):
    write(tmp_path, levels())
    monkeypatch.setattr(index, "_PIECE", 16)
    ticks = iter(range(10_000))

    def shrink():
        if next(ticks) == 3:
            os.truncate(tmp_path / "link_lists.bin", 100)

    findings = index.check_files(tmp_path, DIMENSION, shrink).findings
    assert [each.kind.id for each in findings] == ["CHR039"]
