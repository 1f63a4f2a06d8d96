# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Floats written so that Chroma 1.x reads them as they are. FOR INTERNAL COLLECTION USE ONLY.

The Rust server reads JSON with serde_json's fast way: all digits as one integer, rounded to float64, times or divided by a power of
ten, rounded again (serde_json, src/de.rs, ``f64_from_parts``; the feature ``float_roundtrip`` is off). Of random floats between -1 and 1
in their shortest form every ninth arrives as its neighbour (measured: 1.0.20 and 1.5.9, also through Chroma's own clients). Another text
of the same float, of up to 19 digits, arrives exactly, there and with any correct reader.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal

# Digits beyond a 64-bit integer are dropped by the reader.
_LARGEST = 2**64 - 1
# A float64 has up to 767 significant digits.
_WIDE = Context(prec=800, Emin=-99999, Emax=99999)
_POWERS = [float(f"1e{exponent}") for exponent in range(309)]


def exact_text(value: float) -> str:
    """Return a JSON number that is read as ``value`` both correctly rounded and in serde_json's fast way.

    Args:
        value: finite.

    Returns:
        The shortest form where that does; also for the one in a thousand that no text of 20 digits brings across (see :func:`held`).
    """
    shortest = repr(value)
    if value == 0 or _read(*_parts(shortest)) == abs(value):
        return shortest
    sign = "-" if value < 0 else ""
    size = abs(value)
    exact = Decimal(size)
    for digits in (16, 17, 18, 19, 20):
        exponent = exact.adjusted() - digits + 1
        nearest = int(exact.scaleb(-exponent, _WIDE).to_integral_value())
        # So far may the last digit move within the numbers that round to the value.
        reach = int(Decimal(math.ulp(size)).scaleb(-exponent, _WIDE)) // 2 + 1
        for step in sorted({part * reach // 16 for part in range(-16, 17)}, key=abs):
            text = f"{nearest + step}e{exponent}"
            if 0 < nearest + step <= _LARGEST and float(text) == size and _read(nearest + step, exponent) == size:
                return sign + text
    return shortest


def held(value: float) -> float:
    """Return what Chroma 1.x holds when it is sent :func:`exact_text` of a finite value: it, or rarely its neighbour."""
    return math.copysign(_read(*_parts(exact_text(value))), value)


def _parts(text: str) -> tuple[int, int]:
    """Return the digits of a JSON number as an integer, and the power of ten that it is multiplied with."""
    mantissa, _mark, power = text.lstrip("-").partition("e")
    whole, _point, fraction = mantissa.partition(".")
    return int(whole + fraction), int(power or 0) - len(fraction)


def _read(significand: int, exponent: int) -> float:
    """Return what serde_json's fast way makes of a number."""
    result = float(significand)
    while abs(exponent) >= len(_POWERS):
        if exponent > 0:
            return math.inf
        result /= 1e308
        exponent += 308
    return result * _POWERS[exponent] if exponent >= 0 else result / _POWERS[-exponent]
