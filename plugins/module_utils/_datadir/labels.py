# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``index_metadata.pickle``, the label map, read without unpickling. FOR INTERNAL COLLECTION USE ONLY.

0.x pickles an object of class ``PersistentData``, 1.x a dictionary with the same fields: the dimension, how many elements
were ever added, ``id_to_label``, ``label_to_id`` and ``id_to_seq_id``. A pickle is a program; this interpreter knows only
the instructions that build text, integers, None and dictionaries, and the name of that one class, which it never imports.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import LABELS_FILE, Damaged

# The only class that may be named (chromadb/segment/impl/vector/local_persistent_hnsw.py).
_CLASS = (b"chromadb.segment.impl.vector.local_persistent_hnsw", b"PersistentData")

# Bytes read at once.
_CHUNK = 1 << 20

# 1.x writes a dictionary of any size as one batch; so many values at once are moved out of the interpreter's stack.
_FLUSH = 8192

# Deeper than Chroma ever nests (an object, its fields, one dictionary): more is no label map.
_DEPTH = 8

_INT64 = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True)
class LabelMap:
    """Which id has which external label in the index.

    Args:
        ids: ``(n,)`` Arrow large_string, in the file's order.
        labels: ``(n,)`` int64.
        dimension: None where the file does not say (1.x).
        total_elements: how many were ever added, deleted ones included.
        max_seq_id: the index's position in the log; only 0.4 and directories that come from it have it here, and there
            a row of table ``max_seq_id`` counts more.
        inverse_matches: whether ``label_to_id`` is exactly the inverse; None where it was not read.
    """

    ids: Any
    labels: Any
    dimension: int | None
    total_elements: int
    max_seq_id: int | None
    inverse_matches: bool | None

    def __len__(self) -> int:
        return len(self.labels)


def read_labels(path: Path, inverse: bool = False) -> LabelMap:
    """Read a label map.

    Args:
        path: the file, or the segment's folder.
        inverse: read the file to its end and compare ``label_to_id`` too, which takes three times as long.
            Otherwise only the last byte is looked at, which a torn file does not have.

    Returns:
        The map; about 16 bytes and the id for each record.

    Raises:
        Damaged: ``labels`` where it is absent, torn, holds anything but a label map, or an instruction that could execute code.
    """
    if path.is_dir():
        path = path / LABELS_FILE
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - 1))
            if file.read(1) != b".":
                raise Damaged("labels", path, "is torn: it does not end as a pickle does.")
            file.seek(0)
            return _Interpreter(path, file, size, inverse).run()
    except OSError as error:
        raise Damaged("labels", path, f"cannot be read: {error.strerror}.") from error


class _Text:
    """Texts in one buffer: 8 bytes more than their own for each."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ends = array("q", [0])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return bytes(self.data[self.ends[index] : self.ends[index + 1]])

    def extend(self, values: list[bytes]) -> None:
        ends = itertools.accumulate(map(len, values), initial=len(self.data))
        next(ends)
        self.data += b"".join(values)
        self.ends.extend(ends)

    def arrow(self) -> Any:
        return pa.Array.from_buffers(pa.large_string(), len(self), [None, pa.py_buffer(self.ends), pa.py_buffer(self.data)])


class _Table:
    """A dictionary under construction; only those that are asked for keep their items."""

    def __init__(self, name: bytes | None, keep: bool) -> None:
        self.name = name
        self.keep = keep
        self.texts = _Text()
        self.numbers = array("q")
        self.fields: dict[bytes, Any] = {}


class _Other:
    """What is on the stack and is no value: the class, its arguments, the object."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class _Interpreter:
    def __init__(self, path: Path, file: BinaryIO, size: int, inverse: bool) -> None:
        self.path, self.file, self.size, self.inverse = path, file, size, inverse
        self.stack: list[Any] = []
        self.marks: list[int] = []
        # Texts that are referred to again: all of them where the inverse is read, otherwise the names of the fields.
        self.memo = _Text()
        self.memo_other: dict[int, Any] = {}
        self.root: _Table | None = None

    def run(self) -> LabelMap:
        """Execute the instructions; see pickletools of Python's library for what each means."""
        stack, marks = self.stack, self.marks
        unpack4, unpack2, unpack8 = struct.Struct("<I").unpack_from, struct.Struct("<H").unpack_from, struct.Struct("<Q").unpack_from
        unpack_int = struct.Struct("<i").unpack_from
        data, at, base = b"", 0, 0
        while True:
            # No instruction without text is longer than 300 bytes.
            if len(data) - at < 300 and base + len(data) < self.size:
                base += at
                data = data[at:] + self.file.read(_CHUNK)
                at = 0
            if at >= len(data):
                raise self._damaged("ends before its end")
            code = data[at]
            try:
                if marks and (code == 0x58 or code == 0x4A) and (end := self._pairs(data, at)) > at:
                    at = end
                elif code in (0x58, 0x8C, 0x8D):  # BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
                    if code == 0x58:
                        length, head = unpack4(data, at + 1)[0], 5
                    elif code == 0x8C:
                        length, head = data[at + 1], 2
                    else:
                        length, head = unpack8(data, at + 1)[0], 9
                    end = at + head + length
                    if end > len(data):
                        if base + end > self.size:
                            raise self._damaged("holds a text that is longer than the file")
                        data += self.file.read(end - len(data) + _CHUNK)
                    stack.append(data[at + head : end])
                    at = end
                elif code == 0x4A:  # BININT
                    stack.append(unpack_int(data, at + 1)[0])
                    at += 5
                elif code == 0x94:  # MEMOIZE
                    self._memoize(len(self.memo))
                    at += 1
                elif code == 0x4D:  # BININT2
                    stack.append(unpack2(data, at + 1)[0])
                    at += 3
                elif code == 0x4B:  # BININT1
                    stack.append(data[at + 1])
                    at += 2
                elif code == 0x68:  # BINGET
                    stack.append(self._recall(data[at + 1]))
                    at += 2
                elif code == 0x6A:  # LONG_BINGET
                    stack.append(self._recall(unpack4(data, at + 1)[0]))
                    at += 5
                elif code == 0x28:  # MARK
                    marks.append(len(stack))
                    at += 1
                elif code == 0x75:  # SETITEMS
                    self._store(marks.pop())
                    at += 1
                elif code == 0x73:  # SETITEM
                    self._store(len(stack) - 2)
                    at += 1
                elif code == 0x7D:  # EMPTY_DICT
                    if self._begin_table():
                        return self._result()
                    at += 1
                elif code == 0x4E:  # NONE
                    stack.append(None)
                    at += 1
                elif code == 0x8A:  # LONG1
                    length = data[at + 1]
                    value = int.from_bytes(data[at + 2 : at + 2 + length], "little", signed=True)
                    if len(data) < at + 2 + length or value not in _INT64:
                        raise self._damaged("holds an integer beyond 64 bits")
                    stack.append(value)
                    at += 2 + length
                elif code == 0x95:  # FRAME
                    at += 9
                elif code == 0x80:  # PROTO
                    at += 2
                elif code == 0x71:  # BINPUT
                    self._memoize(data[at + 1])
                    at += 2
                elif code == 0x72:  # LONG_BINPUT
                    self._memoize(unpack4(data, at + 1)[0])
                    at += 5
                elif code == 0x93:  # STACK_GLOBAL
                    name, module = stack.pop(), stack.pop()
                    self._name_class(module, name)
                    at += 1
                elif code == 0x63:  # GLOBAL
                    first = data.index(b"\n", at)
                    second = data.index(b"\n", first + 1)
                    self._name_class(data[at + 1 : first], data[first + 1 : second])
                    at = second + 1
                elif code == 0x29:  # EMPTY_TUPLE
                    stack.append(_Other("arguments"))
                    at += 1
                elif code == 0x81:  # NEWOBJ
                    if [getattr(stack.pop(), "kind", None) for _each in range(2)] != ["arguments", "class"]:
                        raise self._damaged("makes an object of something else than PersistentData")
                    stack.append(_Other("object"))
                    at += 1
                elif code == 0x62:  # BUILD
                    state = stack.pop()
                    if getattr(stack.pop(), "kind", None) != "object" or not isinstance(state, _Table):
                        raise self._damaged("sets the state of something else than PersistentData")
                    stack.append(state)
                    at += 1
                elif code == 0x2E:  # STOP
                    if len(stack) != 1 or marks or not isinstance(stack[0], _Table) or base + at + 1 != self.size:
                        raise self._damaged("does not end as a label map does")
                    return self._result()
                else:
                    raise self._damaged(f"holds the pickle instruction 0x{code:02x} at byte {base + at}, which no label map needs")
            except (IndexError, struct.error, ValueError) as error:
                raise self._damaged(f"is no label map: broken at byte {base + at}") from error
            if len(stack) > _FLUSH and marks and len(stack) - marks[-1] > _FLUSH:
                self._flush(marks[-1])
            if len(stack) > 2 * _FLUSH or len(marks) > _DEPTH:
                raise self._damaged("nests deeper than a label map does")

    def _pairs(self, data: bytes, at: int) -> int:
        """Push pairs of id and label, in either order: most of what 1.x writes, in half the time. Return where they end."""
        unpack_length, unpack_int = struct.Struct("<I").unpack_from, struct.Struct("<i").unpack_from
        push, last = self.stack.append, len(data) - 16
        for _each in range(_FLUSH // 4):
            if at >= last:
                break
            if data[at] == 0x58:  # BINUNICODE, BININT
                end = at + 5 + unpack_length(data, at + 1)[0]
                if end > last or data[end] != 0x4A:
                    break
                push(data[at + 5 : end])
                push(unpack_int(data, end + 1)[0])
                at = end + 5
            elif data[at] == 0x4A and data[at + 5] == 0x58:  # BININT, BINUNICODE
                end = at + 10 + unpack_length(data, at + 6)[0]
                if end > last:
                    break
                push(unpack_int(data, at + 1)[0])
                push(data[at + 10 : end])
                at = end
            else:
                break
        return at

    def _damaged(self, text: str) -> Damaged:
        return Damaged("labels", self.path, f"{text}.")

    def _name_class(self, module: Any, name: Any) -> None:
        if (module, name) != _CLASS:
            shown = ".".join(each.decode(errors="replace")[:80] if isinstance(each, bytes) else "?" for each in (module, name))
            raise self._damaged(f"is unsafe: it names {shown}, which unpickling would import; it was not executed")
        self.stack.append(_Other("class"))

    def _memoize(self, index: int) -> None:
        if index != len(self.memo):
            raise self._damaged("numbers its texts in another order than Chroma does")
        value = self.stack[-1]
        if isinstance(value, bytes):
            # Without the inverse nothing refers to an id.
            self.memo.extend([value if self.inverse or index < 256 else b""])
        else:
            self.memo_other[index] = value
            self.memo.extend([b""])
            if len(self.memo_other) > 1000:
                raise self._damaged("holds more objects than a label map does")

    def _recall(self, index: int) -> Any:
        if index in self.memo_other:
            return self.memo_other[index]
        return self.memo[index]

    def _begin_table(self) -> bool:
        """Put a new dictionary on the stack; return whether all that is wanted has been read."""
        name = self.stack[-1] if self.stack and isinstance(self.stack[-1], bytes) else None
        if name == b"label_to_id" and not self.inverse and self._complete():
            return True
        table = _Table(name, name == b"id_to_label" or (self.inverse and name == b"label_to_id"))
        if self.root is None:
            self.root = table
        self.stack.append(table)
        return False

    def _complete(self) -> bool:
        """Move what is on the stack into the fields; return whether ``id_to_label`` is among them."""
        if self.root is None:
            return False
        waiting = self.stack[self.stack.index(self.root) + 1 : -1]
        if len(waiting) % 2 == 0 and all(isinstance(key, bytes) for key in waiting[::2]):
            self.root.fields.update(zip(waiting[::2], waiting[1::2], strict=True))
        return isinstance(self.root.fields.get(b"id_to_label"), _Table)

    def _flush(self, mark: int) -> None:
        """Move the complete items beyond a mark into their dictionary before the batch ends."""
        if isinstance(self.stack[mark - 1] if mark else None, _Table) and self.stack[mark - 1] is not self.root:
            odd = (len(self.stack) - mark) % 2
            rest = [self.stack.pop()] if odd else []
            self._store(mark)
            self.stack += rest

    def _store(self, mark: int) -> None:
        """Put the items beyond a mark into the dictionary below it."""
        if mark < 1 or mark > len(self.stack):
            raise self._damaged("stores items nowhere")
        items, table = self.stack[mark:], self.stack[mark - 1]
        del self.stack[mark:]
        keys, values = items[::2], items[1::2]
        if not isinstance(table, _Table) or len(items) % 2:
            raise self._damaged("stores items in something that is no dictionary")
        if table is self.root:
            if not all(isinstance(key, bytes) for key in keys) or len(table.fields) > 100:
                raise self._damaged("has fields that no label map has")
            table.fields.update(zip(keys, values, strict=True))
            return
        texts, numbers = (values, keys) if table.name == b"label_to_id" else (keys, values)
        if set(map(type, texts)) - {bytes} or set(map(type, numbers)) - {int}:
            raise self._damaged("holds something else than ids and numbers")
        if table.keep:
            table.texts.extend(texts)
            table.numbers.extend(numbers)

    def _result(self) -> LabelMap:
        fields = self.root.fields if self.root else {}
        forward, backward = fields.get(b"id_to_label"), fields.get(b"label_to_id")
        if not isinstance(forward, _Table):
            raise self._damaged("has no id_to_label")
        if self.inverse and not isinstance(backward, _Table):
            raise self._damaged("has no label_to_id")
        known = {name: fields.get(name) for name in (b"dimensionality", b"total_elements_added", b"max_seq_id")}
        if any(value is not None and not isinstance(value, int) for value in known.values()):
            raise self._damaged("has a field that is no number")
        ids = forward.texts.arrow()
        try:
            ids.validate(full=True)
        except pa.ArrowInvalid as error:
            raise self._damaged("holds an id that is no UTF-8") from error
        labels = np.frombuffer(forward.numbers, np.int64) if len(forward.numbers) else np.empty(0, np.int64)
        return LabelMap(
            ids,
            labels,
            known[b"dimensionality"],
            known[b"total_elements_added"] or 0,
            known[b"max_seq_id"],
            _inverse(ids, labels, backward) if isinstance(backward, _Table) and self.inverse else None,
        )


def _inverse(ids: Any, labels: Any, backward: _Table) -> bool:
    """Return whether a map from labels to ids is the inverse of the other."""
    if len(labels) != len(backward.numbers):
        return False
    there = np.argsort(labels, kind="stable")
    back = np.argsort(np.frombuffer(backward.numbers, np.int64), kind="stable") if len(labels) else there
    if not np.array_equal(labels[there], np.frombuffer(backward.numbers, np.int64)[back] if len(labels) else labels):
        return False
    others = backward.texts.arrow()
    # In pieces: a whole copy of both in the labels' order is more than all the rest.
    for first in range(0, len(labels), _CHUNK // 8):
        piece = slice(first, first + _CHUNK // 8)
        if not pc.all(pc.equal(ids.take(pa.array(there[piece])), others.take(pa.array(back[piece])))).as_py():
            return False
    return True
