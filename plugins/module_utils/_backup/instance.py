# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which data directory a backup is of. FOR INTERNAL COLLECTION USE ONLY.

Several directories may share one repository. ``.thinkube-chroma/instance`` holds a random name that the first backup makes and that a
restore leaves where it is: nothing in the data themselves outlives a restore. Backups have it as the tag ``instance=``.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.marks import is_mark, new_mark, read_mark, write_mark
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

NAME = "instance"


def read_instance(directory: Path) -> str:
    """Return the instance of a data directory; empty where it has none yet.

    Raises:
        ChromaError: ``conflict`` where the file holds something else: guessing would mix up two directories' backups.
    """
    content = read_mark(directory, NAME)
    if content is None:
        return ""
    if not is_mark(content):
        hint = "chroma_backup_info shows the instance of each backup: write that of this directory into it, or remove it to begin anew."
        raise ChromaError("conflict", f"{directory / PRIVATE / NAME} holds no instance.", hint)
    return content


def ensure_instance(directory: Path) -> str:
    """Return the instance of a data directory, whose lock is held; it gets one where it has none."""
    return read_instance(directory) or adopt_instance(directory, new_mark())


def adopt_instance(directory: Path, instance: str) -> str:
    """Give an instance to a data directory, whose lock is held, unless it has one already; return that which it has.

    A directory that is new and gets its data from a backup goes on as what that backup is of.

    Raises:
        ChromaError: ``no_space``, ``forbidden``.
    """
    if (present := read_instance(directory)) or not instance:
        return present
    write_mark(directory, NAME, instance)
    return instance


def instances(catalogue: Catalogue) -> list[str]:
    """Return the instances of which a repository holds backups, sorted."""
    return sorted({each.instance for each in catalogue.backups if each.instance})


def followed(catalogue: Catalogue, instance: str) -> Catalogue:
    """Return the backups among which the newest one of a data directory is looked for.

    Args:
        catalogue: of the repository.
        instance: of the directory; empty where it is new or not known. Then the backups of any count, if all are of the same one.

    Raises:
        ChromaError: ``invalid_value`` where that is empty and the repository holds backups of several ones.
    """
    known = instances(catalogue)
    if not instance and len(known) > 1:
        message = (
            f"The repository holds backups of {len(known)} data directories ({', '.join(known)}), and which of them is meant is unknown."
        )
        raise ChromaError("invalid_value", message, "Name the backup by its id; chroma_backup_info shows the instance of each.")
    return catalogue.of(instance)
