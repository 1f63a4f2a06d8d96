# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``index_metadata.pickle``, the label map, read without unpickling. FOR INTERNAL COLLECTION USE ONLY.

0.x pickles an object of class ``PersistentData``, 1.x a dictionary with the same fields: the dimension, how many elements
were ever added, ``id_to_label``, ``label_to_id`` and ``id_to_seq_id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np, pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.label_pickle import CutOff, Interpreter
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.label_table import Table
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import LABELS_FILE, Damaged

# Labels that are compared at once.
_PIECE = 1 << 17


@dataclass(frozen=True)
class LabelMap:
    """Which id has which external label in the index.

    Args:
        ids: ``(n,)`` Arrow large_string, in the file's order; ``(n,)`` int64 hashes where those were asked for.
        labels: ``(n,)`` int64.
        dimension: None where the file does not say (1.x).
        total_elements: how many were ever added, deleted ones included.
        max_seq_id: the index's position in the log; only 0.4 and directories that come from it have it here, and there
            a row of table ``max_seq_id`` counts more.
        inverse_matches: whether ``label_to_id`` is exactly the inverse; None where it was not read.
        doubtful: ``(n,)`` bool, which entries ``label_to_id`` does not say; None where it says all of them, or was not read.
    """

    ids: Any
    labels: Any
    dimension: int | None
    total_elements: int
    max_seq_id: int | None
    inverse_matches: bool | None
    doubtful: Any = None

    def __len__(self) -> int:
        return len(self.labels)


def read_labels(path: Path, inverse: bool = False, hashed: bool = False, torn: bool = False) -> LabelMap:
    """Read a label map.

    Args:
        path: the file, or the segment's folder.
        inverse: read the file to its end and compare ``label_to_id`` too, which takes three times as long.
            Otherwise only the last byte is looked at, which a torn file does not have.
        hashed: keep Python's hash of the id's UTF-8 instead of the id, keyed anew in each process; not with ``inverse``.
        torn: take of a map that is cut off what comes before the cut; to recover it. Whether a label is one of the index's is to be looked
            at afterwards.

    Returns:
        The map; about 16 bytes and the id for each record, or 16 bytes alone.

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
            if file.read(1) != b"." and not torn:
                raise Damaged("labels", path, "is torn: it does not end as a pickle does.")
            file.seek(0)
            interpreter = Interpreter(path, file, size, inverse, hashed)
            try:
                fields = interpreter.run()
            except CutOff as error:
                if not torn:
                    raise Damaged("labels", path, error.detail) from error
                fields = interpreter.rest()
    except OSError as error:
        raise Damaged("labels", path, f"cannot be read: {error.strerror}.") from error
    return _map_of(path, fields, inverse, hashed)


def _map_of(path: Path, fields: Mapping[bytes, Any], inverse: bool, hashed: bool) -> LabelMap:
    forward, backward = fields.get(b"id_to_label"), fields.get(b"label_to_id")
    if not isinstance(forward, Table):
        raise Damaged("labels", path, "has no id_to_label.")
    if inverse and not isinstance(backward, Table):
        raise Damaged("labels", path, "has no label_to_id.")
    known = {name: fields.get(name) for name in (b"dimensionality", b"total_elements_added", b"max_seq_id")}
    if any(value is not None and not isinstance(value, int) for value in known.values()):
        raise Damaged("labels", path, "has a field that is no number.")
    ids = forward.texts.arrow()
    labels = np.frombuffer(forward.numbers, np.int64) if len(forward.numbers) else np.empty(0, np.int64)
    matches = doubtful = None
    try:
        if not hashed:
            ids.validate(full=True)
        if isinstance(backward, Table) and inverse:
            matches = _inverse(ids, labels, backward)
            doubtful = None if matches else _doubtful(ids, labels, backward)
    except ValueError as error:  # Arrow's is one, and so is Python's
        raise Damaged("labels", path, "holds an id that is no UTF-8.") from error
    return LabelMap(
        ids,
        labels,
        known[b"dimensionality"],
        known[b"total_elements_added"] or 0,
        known[b"max_seq_id"],
        matches,
        doubtful,
    )


def _doubtful(ids: Any, labels: Any, backward: Table) -> Any:
    """Return which pairs of id and label are not in a map from labels to ids."""
    said = set(zip(backward.texts.arrow().to_pylist(), backward.numbers, strict=True))
    return np.array([pair not in said for pair in zip(ids.to_pylist(), labels.tolist(), strict=True)], np.bool_)


def _inverse(ids: Any, labels: Any, backward: Table) -> bool:
    """Return whether a map from labels to ids is the inverse of the other."""
    if len(labels) != len(backward.numbers):
        return False
    there = np.argsort(labels, kind="stable")
    back = np.argsort(np.frombuffer(backward.numbers, np.int64), kind="stable") if len(labels) else there
    if not np.array_equal(labels[there], np.frombuffer(backward.numbers, np.int64)[back] if len(labels) else labels):
        return False
    others = backward.texts.arrow()
    # In pieces: a whole copy of both in the labels' order is more than all the rest.
    for first in range(0, len(labels), _PIECE):
        piece = slice(first, first + _PIECE)
        if not pc.all(pc.equal(ids.take(pa.array(there[piece])), others.take(pa.array(back[piece])))).as_py():
            return False
    return True
