# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random names that a data directory has in ``.thinkube-chroma``, each in a file of its own. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import private_folder, sync

_FORM = re.compile(r"[0-9a-f]{16}")


def new_mark() -> str:
    """Return a random name."""
    return secrets.token_hex(8)


def is_mark(text: str) -> bool:
    """Return whether a text is such a name."""
    return bool(_FORM.fullmatch(text))


def read_mark(directory: Path, name: str) -> str | None:
    """Return what a file holds; None where it is absent.

    Raises:
        ChromaError: ``forbidden``.
    """
    path = directory / PRIVATE / name
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path} could not be read: {error.strerror}."
        raise ChromaError("forbidden", message, "Run it as the user that Chroma runs as.") from error


def write_mark(directory: Path, name: str, mark: str) -> None:
    """Write a file, durably, into a directory whose lock is held.

    Raises:
        ChromaError: ``no_space``, ``forbidden``.
    """
    path = private_folder(directory) / name
    written = path.with_name(f"{name}.new")
    try:
        with written.open("w") as file:
            file.write(f"{mark}\n")
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
        sync(path.parent)
    except OSError as error:
        code = "no_space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "forbidden"
        hint = "Make room on the data volume, and see that the user may write there."
        raise ChromaError(code, f"{path} could not be written: {error.strerror}.", hint) from error
