# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which floats Chroma 1.x can hold in metadata. FOR INTERNAL COLLECTION USE ONLY.

The Rust server reads JSON with serde_json's fast way: all digits as one integer, rounded to float64, times or divided by a power of
ten, rounded again (serde_json, src/de.rs, ``f64_from_parts``; its feature ``float_roundtrip`` is off). It does so with each request,
and again with its own log, so that no spelling helps: of random floats between -1 and 1 every tenth becomes its neighbour, whatever
client sends it (measured: 1.0.20 and 1.5.9). Floats of up to 15 digits and exponents up to 22 are never touched, nor are embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._values import same_value

_POWERS = [float(f"1e{exponent}") for exponent in range(309)]


def held(value: float) -> float:
    """Return what Chroma 1.x holds when it is sent a finite float as metadata: it, or its neighbour."""
    # Up to 15 digits are one exact integer and one exact power of ten: most floats of people are such.
    if len(repr(value)) <= 16 and abs(value) < 1e15 and (abs(value) > 1e-4 or value == 0):
        return value
    for _reader in ("the request", "the log"):
        if math.isfinite(value):  # the very largest may overflow
            value = math.copysign(_read(repr(value)), value)
    return value


def holds(stored: Any, wanted: Any) -> bool:
    """Return whether a stored metadata value is the wanted one, or what 1.x makes of it."""
    if same_value(stored, wanted):
        return True
    if isinstance(stored, list) and isinstance(wanted, list):
        return len(stored) == len(wanted) and all(map(holds, stored, wanted))
    return isinstance(stored, float) and isinstance(wanted, float) and math.isfinite(wanted) and stored == held(wanted)


def rounded(metadata: Mapping[str, Any] | None) -> bool:
    """Return whether a record's metadata has a float that 1.x does not hold."""
    for value in (metadata or {}).values():
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, float) and held(each) != each:
                return True
    return False


def _read(text: str) -> float:
    """Return the size of the number that serde_json's fast way makes of a text."""
    mantissa, _mark, power = text.lstrip("-").partition("e")
    whole, _point, fraction = mantissa.partition(".")
    result = float(int(whole + fraction))
    exponent = int(power or 0) - len(fraction)
    while exponent <= -len(_POWERS):
        result /= 1e308
        exponent += 308
    return result * _POWERS[exponent] if exponent >= 0 else result / _POWERS[-exponent]
