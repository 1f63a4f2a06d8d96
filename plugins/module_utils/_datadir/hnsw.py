# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of an HNSW index, read without hnswlib. FOR INTERNAL COLLECTION USE ONLY.

An element of ``data_level0.bin`` is: 16 bits with the number of its links, 8 bits of flags (bit 0 of the first: deleted),
8 unused bits, the links as 32-bit integers, the vector as float32, and the external label as a 64-bit integer
(source: hnswlib, hnswalg.h, and its fork chroma-hnswlib). In space cosine the vectors have length 1, and ``length.bin`` holds
the length that each had, as float32; the product is what servers return (measured, bit for bit). In the other spaces
``length.bin`` holds what was in memory by chance.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE, HEADER_FILE, LENGTH_FILE, Damaged

_HEADER = struct.Struct("<i6QiI3QdQ")
_LABEL_BYTES = 8
_DELETED = 1

# Far beyond any embedding; what is larger is no header.
MOST_DIMENSIONS = 1 << 20

# Bytes read at once: large enough for the disk, small beside everything else.
CHUNK = 8 << 20

# Elements further apart than this are read separately: skipping less costs more in calls than it saves in bytes.
_GAP_BYTES = 64 << 10


@dataclass(frozen=True)
class Header:
    """``header.bin``: 100 bytes, little endian.

    Args:
        version: of the format; 1.
        max_elements: capacity in elements.
        count: elements in use, deleted ones included (``cur_element_count``).
        element_bytes: size of one element.
        label_offset, vector_offset: within an element, bytes.
        max_level, entry_point: of the graph; the entry point is an internal row.
        max_links, max_links0, links: ``maxM``, ``maxM0`` and ``M``.
        ef_construction: effort with which the graph was built.
    """

    version: int
    level0_offset: int
    max_elements: int
    count: int
    element_bytes: int
    label_offset: int
    vector_offset: int
    max_level: int
    entry_point: int
    max_links: int
    max_links0: int
    links: int
    mult: float
    ef_construction: int

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return (self.label_offset - self.vector_offset) // 4

    @property
    def data_bytes(self) -> int:
        """How much of ``data_level0.bin`` is in use; the file may be as large as its capacity."""
        return self.count * self.element_bytes


def read_header(path: Path) -> Header:
    """Read and check ``header.bin``.

    Args:
        path: the file, or the segment's folder.

    Raises:
        Damaged: ``header`` where it is absent, has another length, or describes an impossible layout.
    """
    if path.is_dir():
        path = path / HEADER_FILE
    try:
        with path.open("rb") as file:
            content = file.read(_HEADER.size + 1)
    except OSError as error:
        raise Damaged("header", path, f"cannot be read: {error.strerror}.") from error
    if len(content) != _HEADER.size:
        raise Damaged("header", path, f"has {'more' if len(content) > _HEADER.size else len(content)} bytes instead of {_HEADER.size}.")
    header = Header(*_HEADER.unpack(content))
    wrong = [
        text
        for text, bad in (
            (f"format {header.version} instead of 1", header.version != 1),
            (f"{header.count} elements where {header.max_elements} have room", header.count > header.max_elements),
            ("a label outside its element", header.element_bytes != header.label_offset + _LABEL_BYTES),
            ("no room for the links", header.vector_offset != 4 + 4 * header.max_links0),
            (
                "vectors that are no float32",
                not 0 < header.dimension <= MOST_DIMENSIONS or (header.label_offset - header.vector_offset) % 4 != 0,
            ),
            ("an offset of the first level that is not 0", header.level0_offset != 0),
        )
        if bad
    ]
    if wrong:
        raise Damaged("header", path, f"describes {', '.join(wrong)}.")
    return header


class VectorFile:
    """``data_level0.bin`` of one segment, read in pieces; a context manager.

    It is read with ``pread`` and not mapped: pages of a mapped file count as memory of the process, and a file that is
    truncated meanwhile would kill it.

    Args:
        folder: of the segment.
        header: given by the caller where it was read already.

    Raises:
        Damaged: ``header``, or ``vectors`` where the file is absent.
    """

    def __init__(self, folder: Path, header: Header | None = None) -> None:
        self.header = header or read_header(folder / HEADER_FILE)
        self.path = folder / DATA_FILE
        try:
            self._file = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise Damaged("vectors", self.path, f"cannot be read: {error.strerror}.") from error
        self.size = os.fstat(self._file).st_size
        # What the header claims and the file holds: a header alone never decides how much memory is taken.
        self.rows = min(self.header.count, self.size // self.header.element_bytes)

    def __enter__(self) -> VectorFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    @property
    def complete(self) -> bool:
        """Whether the file holds all elements that the header counts."""
        return self.rows == self.header.count

    def elements(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield the elements in chunks of about 8 MB.

        Returns:
            Pairs of the first internal row and a structured array with ``links`` uint16, ``flags`` uint8,
            ``vector`` ``(dimension,)`` float32 and ``label`` uint64.
        """
        stop = self.rows if stop is None else min(stop, self.rows)
        step = max(1, CHUNK // self.header.element_bytes)
        for first in range(start, stop, step):
            yield first, self._read(first, min(first + step, stop))

    def labels(self) -> tuple[Any, Any]:
        """Return the external labels and deletion marks of all rows: ``(rows,)`` uint64 and ``(rows,)`` bool."""
        labels = np.empty(self.rows, np.uint64)
        deleted = np.empty(self.rows, np.bool_)
        for first, chunk in self.elements():
            labels[first : first + len(chunk)] = chunk["label"]
            deleted[first : first + len(chunk)] = chunk["flags"] & _DELETED
        return labels, deleted

    @cached_property
    def lengths(self) -> Any:
        """The Euclidean lengths that the vectors had before a cosine index made them 1: ``(rows,)`` float32.

        Raises:
            Damaged: ``vectors`` where ``length.bin`` is absent or too short.
        """
        path = self.path.with_name(LENGTH_FILE)
        try:
            found = np.fromfile(path, "<f4", self.rows)
        except OSError as error:
            raise Damaged("vectors", path, f"cannot be read: {error.strerror}.") from error
        if len(found) < self.rows:
            raise Damaged("vectors", path, f"holds the lengths of {len(found)} of {self.rows} vectors.")
        return found

    def labels_at(self, rows: Any) -> tuple[Any, Any]:
        """Return the external labels and deletion marks of some internal rows.

        Args:
            rows: ``(n,)`` int64, each below :attr:`rows`, in any order.

        Returns:
            ``(n,)`` uint64 and ``(n,)`` bool.
        """
        labels, flags = np.empty(len(rows), np.uint64), np.empty(len(rows), np.uint8)
        for where, chunk in self._gathered(rows):
            labels[where], flags[where] = chunk["label"], chunk["flags"]
        return labels, (flags & _DELETED).astype(np.bool_)

    def vectors(self, rows: Any, into: Any = None) -> Any:
        """Return the vectors of internal rows.

        Args:
            rows: ``(n,)`` int64, each below :attr:`rows`, in any order.
            into: ``(n, dimension)`` float32 to fill.

        Returns:
            ``(n, dimension)`` float32.
        """
        found = np.empty((len(rows), self.header.dimension), np.float32) if into is None else into
        for where, chunk in self._gathered(rows):
            found[where] = chunk["vector"]
        return found

    def _gathered(self, rows: Any) -> Iterator[tuple[Any, Any]]:
        """Yield the elements of internal rows: their places among ``rows``, and the elements."""
        if not len(rows):
            return
        order = None if np.all(rows[1:] > rows[:-1]) else np.argsort(rows, kind="stable")
        ordered = rows if order is None else rows[order]
        size = self.header.element_bytes
        far = np.flatnonzero(np.diff(ordered) > max(1, _GAP_BYTES // size)) + 1
        edges = [0, *far.tolist(), len(ordered)]
        step = max(1, CHUNK // size)
        for left, right in itertools.pairwise(edges):
            while left < right:
                first = int(ordered[left])
                end = left + int(np.searchsorted(ordered[left:right], first + step))
                chunk = self._read(first, int(ordered[end - 1]) + 1)
                where = slice(left, end) if order is None else order[left:end]
                yield where, chunk if len(chunk) == end - left else chunk[ordered[left:end] - first]
                left = end

    def _read(self, first: int, end: int) -> Any:
        size = self.header.element_bytes
        wanted = (end - first) * size
        parts = bytearray(wanted)
        view, done = memoryview(parts), 0
        while done < wanted:
            got = os.preadv(self._file, [view[done:]], first * size + done)
            if not got:
                raise Damaged("vectors", self.path, "became shorter while it was read.")
            done += got
        return np.frombuffer(parts, self._element())

    def _element(self) -> Any:
        header = self.header
        return np.dtype(
            {
                "names": ["links", "flags", "vector", "label"],
                "formats": ["<u2", "u1", ("<f4", (header.dimension,)), "<u8"],
                "offsets": [0, 2, header.vector_offset, header.label_offset],
                "itemsize": header.element_bytes,
            }
        )
