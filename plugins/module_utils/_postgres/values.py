# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata as PostgreSQL's jsonb, with the type of each number. FOR INTERNAL COLLECTION USE ONLY.

The text is the very one that PostgreSQL gives back (``jsonb::text``), so that a row can be compared by its bytes: keys by length, then
by bytes; a blank after each comma and colon; numbers without exponent (src/backend/utils/adt/jsonb.c and jsonb_util.c). A float always
has a decimal point there, an integer never: jsonb keeps that (numeric, its scale), and every digit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, pc
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import Column

# What JSON escapes.
_ESCAPED = r'["\\\x00-\x1f]'


def jsonb(value: Any) -> str:
    """Return a value of metadata, or a whole one, as jsonb's text.

    Numbers that are not finite become null: JSON has none, see ``frames``.
    """
    if isinstance(value, Mapping):
        pairs = sorted(((key.encode(), key) for key in value), key=lambda each: (len(each[0]), each[0]))
        return "{" + ", ".join(f"{_quoted(key)}: {jsonb(value[key])}" for _bytes, key in pairs) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(jsonb, value))}]"
    if isinstance(value, bool):  # first: in Python it is an int too
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if value is None or isinstance(value, int):
        return "null" if value is None else str(value)
    return _quoted(str(value))


def number(value: float) -> str:
    """Return a float without exponent and with a decimal point: its shortest digits, from which the same bits become again."""
    if not math.isfinite(value):
        return "null"
    text = format(Decimal(repr(value or 0.0)), "f")  # numeric has no negative zero
    return text if "." in text else f"{text}.0"


def metadata_texts(batch: Any, columns: Sequence[Column]) -> Any:
    """Return the metadata of each record as jsonb's text.

    Args:
        batch: ``pa.RecordBatch`` of n records.
        columns: of the metadata, see ``_dataset.schema``.

    Returns:
        ``(n,)`` Arrow strings; null for a record that has no metadata.
    """
    if not columns:
        return pa.nulls(batch.num_rows, pa.large_string())
    if any(each.type == "json" for each in columns) or any(each.type == "nulls" and _any(batch.column(each.name)) for each in columns):
        return pa.array([jsonb(each) if each else None for each in dictionaries(batch, columns)], pa.large_string())
    ordered = sorted((each for each in columns if each.type != "nulls"), key=lambda each: (len(each.key.encode()), each.key.encode()))
    # Not with null_handling="skip": pyarrow 26 leaves out rows of which all parts are null.
    members = [_joined(f", {_quoted(each.key)}: ", _texts(batch.column(each.name), each.type)).fill_null("") for each in ordered]
    if not members:
        return pa.nulls(batch.num_rows, pa.large_string())
    inner = pc.utf8_slice_codeunits(_joined(*members), 2)
    return pc.if_else(pc.equal(inner, ""), pa.scalar(None, pa.large_string()), _joined("{", inner, "}"))


def dictionaries(batch: Any, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the metadata of each record, empty where it has none."""
    found: list[dict[str, Any]] = [{} for _row in range(batch.num_rows)]
    for each in columns:
        for row, value in enumerate(batch.column(each.name).to_pylist()):
            if value is None:
                continue
            if each.type == "json":
                found[row].update(json.loads(value))
            elif each.type == "nulls":
                found[row].update(dict.fromkeys(value))
            else:
                found[row][each.key] = value
    return found


def _texts(values: Any, kind: str) -> Any:
    """Return the values of one column as JSON, null where there is none."""
    if kind == "str":
        if not _any(pc.match_substring_regex(values, _ESCAPED)):
            return _joined('"', values.cast(pa.large_string()), '"')
    elif kind == "float":
        # Arrow's digits are the shortest too, mostly without exponent; adding zero takes the sign off zero.
        texts = pc.add(values, 0.0).cast(pa.large_string())
        if not _any(pc.match_substring_regex(texts, "[a-z]")):
            # It leaves out the point of a whole number.
            return pc.if_else(pc.match_substring(texts, "."), texts, _joined(texts, ".0"))
    elif kind == "int":
        return values.cast(pa.large_string())
    elif kind == "bool":
        return pc.if_else(values, pa.scalar("true", pa.large_string()), pa.scalar("false", pa.large_string()))
    return pa.array([None if each is None else jsonb(each) for each in values.to_pylist()], pa.large_string())


def _joined(*parts: Any) -> Any:
    """Return texts and Arrow strings one after the other, null where one of them is."""
    texts = [pa.scalar(each, pa.large_string()) if isinstance(each, str) else each for each in (*parts, "")]
    return pc.binary_join_element_wise(*texts)


def _any(values: Any) -> bool:
    """Whether one of an array is true; of lists, whether there is one."""
    return bool(pc.any(values).as_py()) if pa.types.is_boolean(values.type) else values.null_count < len(values)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
