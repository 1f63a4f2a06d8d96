# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dictionary of a label map while it is read: texts and numbers, each in one buffer. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import itertools
from array import array
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa


class Texts:
    """Texts in one buffer: 8 bytes more than their own for each."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends = array("q", [0])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return bytes(self.data[self.ends[index] : self.ends[index + 1]])

    def extend(self, values: list[bytes]) -> None:
        """Append texts."""
        ends = itertools.accumulate(map(len, values), initial=len(self.data))
        next(ends)
        self.data += b"".join(values)
        self.ends.extend(ends)

    def arrow(self) -> Any:
        """Return them as an Arrow array, without a copy; that they are UTF-8 is not looked at."""
        return pa.Array.from_buffers(pa.large_string(), len(self), [None, pa.py_buffer(self.ends), pa.py_buffer(self.data)])


class Hashes:
    """Hashes of texts, in their place: 8 bytes for each."""

    def __init__(self) -> None:
        self.numbers = array("q")

    def extend(self, values: list[bytes]) -> None:
        """Append the hashes of texts."""
        self.numbers.extend(map(hash, values))

    def arrow(self) -> Any:
        """Return them as a NumPy array, without a copy."""
        return np.frombuffer(self.numbers, np.int64) if len(self.numbers) else np.empty(0, np.int64)


class Table:
    """A dictionary under construction; only those that are asked for keep their items."""

    def __init__(self, name: bytes | None, keep: bool, hashed: bool) -> None:
        self.name = name
        self.keep = keep
        self.texts = Hashes() if hashed else Texts()
        self.numbers = array("q")
        self.fields: dict[bytes, Any] = {}
