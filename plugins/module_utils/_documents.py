# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents of JSON that say their format and its version, as manifests do. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# What reading a document raises that is not what it should be.
INVALID = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def encode(form: str, version: int, document: Any) -> bytes:
    """Return a dataclass as the content of a file, its format and version before everything else."""
    content = {"format": form, "version": version, **dataclasses.asdict(document)}
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def load(content: bytes, form: str, version: int, newer: str, what: str) -> dict[str, Any]:
    """Read a document.

    Args:
        content: of the file.
        form: its format.
        version: the latest version of that format that can be read.
        newer: code of the error for a later one.
        what: it is, for that error.

    Raises:
        ChromaError: ``newer``.
        ValueError, KeyError, TypeError, AttributeError, RecursionError: it is no such document, see :data:`INVALID`.
    """
    loaded: dict[str, Any] = json.loads(content)
    if loaded["format"] != form:
        raise ValueError(f"its format is {loaded['format']!r}")
    if int(loaded["version"]) > version:
        message = f"{what} has version {loaded['version']} of its format; this release reads up to {version}."
        raise ChromaError(newer, message, "Use the release of thinkube.chroma that wrote it, or a newer one.")
    return loaded


def known(kind: Any, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass; what a later release added without changing the format's version is left out."""
    names = {each.name for each in dataclasses.fields(kind)}
    return {key: value for key, value in loaded.items() if key in names}


def check_path(path: str) -> None:
    """Refuse a path that would lead a reader out of the place that the document lies in.

    Raises:
        ValueError: it is absolute, has empty steps or dots for steps, or what other systems take for a slash.
    """
    steps = path.split("/")
    if not all(steps) or {".", ".."} & set(steps) or "\\" in path or "\0" in path:
        raise ValueError(f"the path {path!r} leads elsewhere")


def reason(error: Exception) -> str:
    """Return why a document can't be used, in words."""
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
