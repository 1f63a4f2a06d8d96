# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pickle of a label map, taken apart without unpickling. FOR INTERNAL COLLECTION USE ONLY.

A pickle is a program; this interpreter knows only the instructions that build text, integers, None and dictionaries, and the name of one
class, which it never imports.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.label_table import Table, Texts
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged

# The only class that may be named (chromadb/segment/impl/vector/local_persistent_hnsw.py).
_CLASS = (b"chromadb.segment.impl.vector.local_persistent_hnsw", b"PersistentData")

# Bytes read at once.
_CHUNK = 1 << 20

# 1.x writes a dictionary of any size as one batch; so many values at once are moved out of the interpreter's stack.
_FLUSH = 8192

# Deeper than Chroma ever nests (an object, its fields, one dictionary): more is no label map.
_DEPTH = 8

_INT64 = range(-(1 << 63), 1 << 63)


class CutOff(Damaged):
    """It ends before its end; what was read is kept."""


class _Other:
    """What is on the stack and is no value: the class, its arguments, the object."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Interpreter:
    """Reads the fields of a label map.

    Args:
        path: of the file, for what is said of it.
        file: open at its beginning.
        size: of it.
        inverse: keep the items of ``label_to_id``, too; otherwise reading ends before it.
        hashed: keep hashes of the texts.
    """

    def __init__(self, path: Path, file: BinaryIO, size: int, inverse: bool, hashed: bool) -> None:
        self.path, self.file, self.size, self.inverse, self.hashed = path, file, size, inverse, hashed
        self.stack: list[Any] = []
        self.marks: list[int] = []
        # Texts that are referred to again: all of them where the inverse is read, otherwise the names of the fields.
        self.memo = Texts()
        self.memo_other: dict[int, Any] = {}
        self.root: Table | None = None

    @property
    def fields(self) -> Mapping[bytes, Any]:
        """What was read: text, numbers, None, and a :class:`Table` for a dictionary."""
        return self.root.fields if self.root else {}

    def run(self) -> Mapping[bytes, Any]:
        """Execute the instructions, and return the fields; see pickletools of Python's library for what each means.

        Raises:
            Damaged: ``labels``; :class:`CutOff` where it ends before its end.
        """
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
                raise CutOff("labels", self.path, "ends before its end.")
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
                            raise CutOff("labels", self.path, "holds a text that is longer than the file.")
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
                        return self.fields
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
                    if getattr(stack.pop(), "kind", None) != "object" or not isinstance(state, Table):
                        raise self._damaged("sets the state of something else than PersistentData")
                    stack.append(state)
                    at += 1
                elif code == 0 and not any(data[at:]):
                    # The end of a file whose last blocks never came to the disk.
                    raise CutOff("labels", self.path, "ends in zeros.")
                elif code == 0x2E:  # STOP
                    if len(stack) != 1 or marks or not isinstance(stack[0], Table) or base + at + 1 != self.size:
                        raise self._damaged("does not end as a label map does")
                    return self.fields
                else:
                    raise self._damaged(f"holds the pickle instruction 0x{code:02x} at byte {base + at}, which no label map needs")
            except (IndexError, struct.error, ValueError) as error:
                text = f"is no label map: broken at byte {base + at}"
                if base + len(data) >= self.size and len(data) - at < 300:
                    raise CutOff("labels", self.path, f"{text}.") from error
                raise self._damaged(text) from error
            if len(stack) > _FLUSH and marks and len(stack) - marks[-1] > _FLUSH:
                self._flush(marks[-1])
            if len(stack) > 2 * _FLUSH or len(marks) > _DEPTH:
                raise self._damaged("nests deeper than a label map does")

    def rest(self) -> Mapping[bytes, Any]:
        """Return the fields of a map that is cut off, as far as they were read."""
        if self.marks and 0 < self.marks[-1] <= len(self.stack):
            mark = self.marks[-1]
            if (len(self.stack) - mark) % 2:
                self.stack.pop()
            self._store(mark)
        tables = {each.name: each for each in self.stack if isinstance(each, Table)}
        if self.root is not None and b"id_to_label" in tables:
            self.root.fields[b"id_to_label"] = tables[b"id_to_label"]
        return self.fields

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
        table = Table(name, name == b"id_to_label" or (self.inverse and name == b"label_to_id"), self.hashed)
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
        return isinstance(self.root.fields.get(b"id_to_label"), Table)

    def _flush(self, mark: int) -> None:
        """Move the complete items beyond a mark into their dictionary before the batch ends."""
        if isinstance(self.stack[mark - 1] if mark else None, Table) and self.stack[mark - 1] is not self.root:
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
        if not isinstance(table, Table) or len(items) % 2:
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
