# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which restic there is. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# Exit codes 10, 11 and 12 are from there (https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes).
OLDEST = (0, 17)
_INSTALL = "Install restic 0.17 or newer on the host where this runs, or name it by restic_path; the image of the operations has one."


def find_restic(restic_path: str) -> str:
    """Return the path of restic.

    Args:
        restic_path: a path, or a name to be found by PATH.

    Raises:
        ChromaError: ``missing_restic`` where there is none that runs, ``old_restic`` where it is too old.
    """
    path = shutil.which(os.path.expanduser(restic_path))
    if path is None:
        raise ChromaError("missing_restic", f"There is no program {restic_path} here, which keeps the backups.", _INSTALL)
    try:
        ended = subprocess.run([path, "version", "--json"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ChromaError("missing_restic", f"{path} does not run: {error}.", _INSTALL) from error
    version = parse_version(ended.stdout)
    if version is None:
        raise ChromaError("missing_restic", f"{path} does not say that it is restic, but: {ended.stdout.strip()[:200]!r}.", _INSTALL)
    if version < OLDEST:
        found = ".".join(str(each) for each in version)
        raise ChromaError("old_restic", f"{path} is restic {found}; at least {OLDEST[0]}.{OLDEST[1]} is needed.", _INSTALL)
    return path


def parse_version(output: str) -> tuple[int, ...] | None:
    """Return the numbers of ``restic version --json``; older ones print ``restic 0.14.0 compiled with …`` all the same."""
    text = output.strip()
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = f"restic {json.loads(text)['version']}"
    words = text.split()
    if len(words) < 2 or words[0] != "restic":
        return None
    numbers = words[1].split("-")[0].split(".")
    return tuple(int(each) for each in numbers) if all(each.isdigit() for each in numbers) else None
