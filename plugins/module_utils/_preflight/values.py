# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the value of a setting says: a truth, a quantity, a release, an image. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)([-+.][0-9A-Za-z.+-]*)?\Z")
_IMAGE = re.compile(
    r"(?P<name>[a-z0-9.:-]+(?:/[a-z0-9._-]+)*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?\Z"
)
_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?\Z")
_UNITS = {"": Decimal(1), "m": Decimal("0.001")}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


@dataclass(frozen=True)
class Image:
    """The parts of an image reference: ``name[:tag][@digest]``."""

    name: str
    tag: str
    digest: str


def is_empty(value: Any) -> bool:
    """Tell whether a setting is absent: None, or nothing but white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_true(value: Any) -> bool:
    """Tell whether a setting is true, also as text from ``-e``."""
    return str(value).lower() in _TRUE


def is_boolean(value: Any) -> bool:
    """Tell whether a setting is one of the words for true and false, or one of these."""
    return str(value).lower() in (*_TRUE, *_FALSE)


def parse_quantity(value: Any) -> Decimal | None:
    """Return a Kubernetes quantity (``10Gi``, ``250m``, ``1``) as a number, or None if it is none.

    Format: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = _QUANTITY.match(str(value))
    if match is None:
        return None
    unit = match["unit"] or ""
    factor = Decimal(f"1{unit}") if unit[:1] in ("e", "E") and unit[1:].isdigit() else _UNITS[unit]
    return Decimal(match["number"]) * factor


def parse_version(value: Any) -> tuple[int, int, int] | None:
    """Return a release of Chroma (``1.5.9``) as three numbers, or None if it is none."""
    match = _VERSION.match(str(value))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def parse_image(value: Any) -> Image | None:
    """Split an image reference, or return None if it is none.

    Format: https://pkg.go.dev/github.com/distribution/reference
    """
    match = _IMAGE.match(str(value))
    if match is None:
        return None
    name, tag = match["name"], match["tag"] or ""
    host, colon, rest = name.partition(":")
    if colon and "/" not in name:
        name, tag = host, rest
    return Image(name, tag, match["digest"] or "")
