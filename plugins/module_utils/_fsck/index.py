# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one index: header, vectors, lengths and links. FOR INTERNAL COLLECTION USE ONLY.

Sizes as measured on 0.4.24 to 1.5.9: ``data_level0.bin`` holds at least the elements in use and at most the capacity;
``length.bin`` 4 bytes for each element of it; ``link_lists.bin`` 4 bytes for each element in use, which say how many more follow: a block
for each level above the first that the element reaches, with the number of its links there and room for all.

An element's level never changes, whatever is updated, deleted or written again, and the entry point has the highest (source: hnswlib,
hnswalg.h; held against indexes of 0.4.24 to 1.5.9). A search goes from the entry point down by these links and verifies none of them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.hnsw import Header, VectorFile, read_header
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import (
    DATA_FILE,
    HEADER_FILE,
    LABELS_FILE,
    LENGTH_FILE,
    LINKS_FILE,
    Damaged,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding, some

FILES = (HEADER_FILE, DATA_FILE, LENGTH_FILE, LINKS_FILE, LABELS_FILE)
_HEADER_BYTES = 100
# Healthy indexes have 0.05 to 0.3; users reported 10 to 300 for those that were eating the disk.
LINKS_RATIO = 10
# Below this nothing eats a disk.
LINKS_BYTES = 1 << 20
# More internal rows are counted, not kept.
_KEPT = 1000
# Numbers of 4 bytes that are read at once of link_lists.bin.
_PIECE = 1 << 18
# Levels fit into a byte; no index comes near.
_MOST_LEVELS = 255

Report = Callable[..., None]


@dataclass(frozen=True)
class Files:
    """What the files of an index said.

    Args:
        findings: without collection and segment.
        header: None where it cannot be used.
        labels: ``(n,)`` uint64, external labels of the elements that are not deleted; None where they cannot be read.
        broken: labels of vectors that are no numbers, some of them.
    """

    findings: tuple[Finding, ...]
    header: Header | None
    labels: Any = None
    broken: tuple[int, ...] = ()


def stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return names, sizes, times and inodes of a folder's files: equal twice means that nothing moved between."""
    seen = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                seen.append((entry.name, about.st_size, about.st_mtime_ns, about.st_ino))
    except FileNotFoundError:
        pass
    return tuple(sorted(seen))


def check_files(folder: Path, dimension: Any, tick: Callable[[], None] = lambda: None) -> Files:
    """Read the files of an index once.

    Args:
        folder: of the segment; it exists.
        dimension: of the collection, as SQLite has it; None while it is empty.
        tick: called between chunks; may raise to stop.
    """
    found: list[Finding] = []

    def report(identifier: str, message: str, subject: str = "") -> None:
        found.append(finding(identifier, message, subject=subject))

    size_of_header = _size(folder / HEADER_FILE)
    if size_of_header != _HEADER_BYTES:
        text = "does not exist" if size_of_header is None else f"has {size_of_header} bytes instead of {_HEADER_BYTES}"
        report("CHR030", f"{HEADER_FILE} {text}.")
        return Files(tuple(found), None)
    try:
        header = read_header(folder / HEADER_FILE)
    except Damaged as damage:
        report("CHR031", f"{HEADER_FILE} {damage.detail}")
        return Files(tuple(found), None)
    if header.count and dimension != header.dimension:
        known = "no dimension" if dimension is None else f"dimension {dimension}"
        report("CHR032", f"The index has vectors of dimension {header.dimension}, the collection has {known}.")
    data = _size(folder / DATA_FILE)
    _check_data(report, header, data)
    _check_lengths(report, header, _size(folder / LENGTH_FILE))
    links = _size(folder / LINKS_FILE)
    # Without the elements that the header counts nothing is known of how many there are.
    whole = links is not None and data is not None and data >= header.data_bytes
    if not (whole and _check_levels(report, folder, header, tick)):
        _check_link_file(report, header, links)
    if data is None:
        return Files(tuple(found), header)
    try:
        labels, broken = _check_elements(report, folder, header, tick)
    except Damaged as damage:
        report("CHR033", f"{DATA_FILE} {damage.detail}")
        return Files(tuple(found), header)
    return Files(tuple(found), header, labels, broken)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _check_data(report: Report, header: Header, size: int | None) -> None:
    if size is None or size < header.data_bytes:
        text = "does not exist" if size is None else f"has {size} bytes"
        report("CHR033", f"{DATA_FILE} {text}; {header.count} elements of {header.element_bytes} bytes need {header.data_bytes}.")
    elif size > header.max_elements * header.element_bytes or size % header.element_bytes:
        report(
            "CHR034",
            f"{DATA_FILE} has {size} bytes, no multiple of {header.element_bytes} up to the capacity of {header.max_elements} elements.",
        )


def _check_lengths(report: Report, header: Header, size: int | None) -> None:
    if size is None or size < 4 * header.count or size % 4:
        text = "does not exist" if size is None else f"has {size} bytes"
        report("CHR035", f"{LENGTH_FILE} {text}; {header.count} elements need at least {4 * header.count}.")


def _check_link_file(report: Report, header: Header, size: int | None) -> None:
    if size is None:
        report("CHR036", f"{LINKS_FILE} does not exist.")
        return
    if size > max(LINKS_BYTES, LINKS_RATIO * header.data_bytes):
        report("CHR037", f"{LINKS_FILE} has {size} bytes, the vectors {header.data_bytes}: more than {LINKS_RATIO} times as much.")
        return
    # Where no element is above the first level some releases write nothing.
    if size == 0 and header.max_level <= 0:
        return
    above = size - 4 * header.count
    block = 4 + 4 * header.max_links
    if above < 0 or above % block:
        report(
            "CHR036",
            f"{LINKS_FILE} has {size} bytes, which is not 4 for each of {header.count} elements and {block} for each higher level.",
        )


def _check_levels(report: Report, folder: Path, header: Header, tick: Callable[[], None]) -> bool:
    """Follow the links above the first level; return whether a search that does so is led astray.

    The file is read as a server loads it: what comes after the last element is nobody's, and an element that the file lacks has no level
    above the first. Levels above the highest one are never searched.
    """
    highest = min(max(header.max_level, 0), _MOST_LEVELS)
    levels = np.zeros(header.count, np.uint8)
    # The highest level at which a link leads to the element.
    named = np.zeros(header.count, np.uint8)
    loose = 0
    try:
        for rows, heights, blocks in _upper_blocks(folder / LINKS_FILE, header, highest, tick):
            levels[rows] = heights  # of a row's blocks the highest comes last
            links, numbers = blocks[:, 1:], blocks[:, 0] & 0xFFFF
            used = np.arange(links.shape[1]) < numbers[:, None]
            outside = used & (links >= header.count)
            loose += int((outside.any(axis=1) | (numbers > header.max_links)).sum())
            for height in range(1, int(heights.max()) + 1):
                led = links[used & ~outside & (heights == height)[:, None]]
                named[led] = np.maximum(named[led], height)
    except Damaged as damage:
        report("CHR039", f"{LINKS_FILE} {damage.detail}", LINKS_FILE)
        return True
    reasons = []
    if loose:
        reasons.append(f"{loose} lists of links are longer than there is room for, or lead to elements that do not exist")
    if len(astray := np.flatnonzero(named > levels)):
        reasons.append(f"links lead to {len(astray)} elements on levels that these do not have; internal rows {some(astray.tolist())}")
    if header.entry_point < header.count and levels[header.entry_point] < highest:
        has = levels[header.entry_point]
        reasons.append(f"a search begins on level {header.max_level} of element {header.entry_point}, which ends at level {has}")
    if reasons:
        report("CHR039", f"{LINKS_FILE}: {'; '.join(reasons)}.", LINKS_FILE)
    return bool(reasons)


def _upper_blocks(path: Path, header: Header, highest: int, tick: Callable[[], None]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the links above the first level, up to a level, in pieces.

    Returns:
        Internal rows ``(n,)``, their levels ``(n,)``, ascending for each row, and blocks ``(n, 1 + max_links)`` uint32: the number of links
        in 16 bits, then the links.

    Raises:
        Damaged: ``links`` where an element's bytes are no whole blocks, or lead beyond the file's end.
    """
    block = 1 + header.max_links  # numbers of 4 bytes, as everything below
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size // 4
        row, place, wanted = 0, 0, _PIECE
        while row < header.count and place < end:
            tick()
            file.seek(4 * place)
            wanted = min(wanted, end - place)
            numbers = np.fromfile(file, "<u4", wanted)
            if len(numbers) < wanted:
                raise Damaged("links", path, "became shorter while it was read.")
            filled = np.flatnonzero(numbers).tolist()
            seen: list[tuple[int, int, int]] = []
            here = nth = 0
            wanted = _PIECE
            while here < len(numbers):
                # A zero is an element without a level above the first.
                nth = bisect_left(filled, here, nth)
                following = filled[nth] if nth < len(filled) else len(numbers)
                row, here = row + following - here, following
                if here == len(numbers) or row >= header.count:
                    break
                level, rest = divmod(int(numbers[here]), 4 * block)
                if rest or place + here + 1 + level * block > end:
                    detail = (
                        f"has {numbers[here]} bytes of links of element {row}: no multiple of {4 * block}, or more than the file holds."
                    )
                    raise Damaged("links", path, detail)
                level_end = here + 1 + min(level, highest) * block
                if level_end > len(numbers):
                    wanted = max(_PIECE, level_end - here)  # once more, from this element on
                    break
                seen += [(row, height, here + 1 + (height - 1) * block) for height in range(1, min(level, highest) + 1)]
                row += 1
                here += 1 + level * block
            place += here
            if seen:
                rows, heights, starts = np.array(seen).T
                yield rows, heights, numbers[starts[:, None] + np.arange(block)]


def _check_elements(report: Report, folder: Path, header: Header, tick: Callable[[], None]) -> tuple[Any, tuple[int, ...]]:
    """Look at each element; return the labels of those that are not deleted, and of those whose vector is no number."""
    with VectorFile(folder, header) as file:
        # Grows with the elements and not with what the header claims.
        labels: list[Any] = []
        broken: list[int] = []
        astray: list[int] = []
        numbers, loose = 0, 0
        layout = np.dtype(
            {"names": ["neighbours"], "formats": [("<u4", (header.max_links0,))], "offsets": [4], "itemsize": header.element_bytes}
        )
        places = np.arange(header.max_links0, dtype=np.uint16)
        for first, chunk in file.elements():
            tick()
            alive = (chunk["flags"] & 1) == 0
            labels.append(chunk["label"][alive])
            # A sum is finite only if all its terms are; the few others are looked at closely, for a sum can overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                suspects = np.flatnonzero(~np.isfinite(chunk["vector"].sum(axis=1)) & alive)
            if len(suspects):
                wrong = suspects[~np.isfinite(chunk["vector"][suspects]).all(axis=1)]
                numbers += len(wrong)
                broken += chunk["label"][wrong][: _KEPT - len(broken)].tolist()
            links = chunk["links"]
            outside = chunk.view(layout)["neighbours"] >= header.count
            if outside.any() or (links > header.max_links0).any():
                bad = np.flatnonzero((outside & (places < links[:, None])).any(axis=1) | (links > header.max_links0))
                loose += len(bad)
                astray += (first + bad)[: _KEPT - len(astray)].tolist()
    if numbers:
        report("CHR038", f"{numbers} vectors hold NaN or infinity; labels {some(broken)}.")
    if loose:
        report("CHR039", f"{loose} elements have links to elements that do not exist; internal rows {some(astray)}.")
    elif header.count and (header.max_level < 0 or header.entry_point >= header.count):
        report("CHR039", f"The entry point {header.entry_point} is none of {header.count} elements.")
    return (np.concatenate(labels) if labels else np.empty(0, np.uint64)), tuple(broken)
