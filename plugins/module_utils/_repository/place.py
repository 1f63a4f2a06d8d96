# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a repository themselves, where restic has no command for them. FOR INTERNAL COLLECTION USE ONLY.

Layout: https://github.com/restic/restic/blob/master/doc/design.rst#repository-layout
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, pafs
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings

# Which state a place without a config is in.
ABSENT, EMPTY, BEGUN, MADE, DAMAGED, FOREIGN = "absent", "empty", "begun", "made", "damaged", "foreign"

# Another name is that of a file that is, or was, being written.
_ID = re.compile(r"[0-9a-f]{64}")
_FOLDERS = ("data", "index", "keys", "locks", "snapshots")


class Place:
    """Where a repository's files are."""

    def __init__(self, settings: RepositorySettings) -> None:
        self.settings = settings

    @property
    def store(self) -> Store:
        """The files of the place, by pyarrow."""
        location = str(self.settings.directory) if self.settings.is_local else self.settings.location
        return open_store(location, self.settings.store)

    def remove(self, path: str) -> None:
        """Remove a file; an absent one is no error."""
        self.store.remove(path)

    def snapshots(self) -> set[str]:
        """Return restic's ids of the snapshots, which are the names of their files and the checksums of what these hold.

        Raises:
            ChromaError: what the directory or the object store answers.
        """
        names = {path.rpartition("/")[2] for path in self.store.files("snapshots")}
        return {each for each in names if _ID.fullmatch(each)}

    def state(self) -> str:
        """Return what a place is that restic finds no repository in.

        Returns:
            ``ABSENT``, ``EMPTY``; ``BEGUN`` where a first use was interrupted, which left folders and at most keys; ``MADE`` where somebody
            made one meanwhile; ``DAMAGED`` where a repository has lost its config; ``FOREIGN`` where something else is there.

        Raises:
            ChromaError: what the directory or the object store answers; ``no_bucket``.
        """
        if self.settings.is_local:
            directory = self.settings.directory
            if not directory.exists():
                return ABSENT
            if not directory.is_dir():
                return FOREIGN
            with os.scandir(directory) as entries:
                top = {each.name for each in entries}
        else:
            self.check_bucket()
            top = set()
        files = set(self.store.files())
        return judge(top | {each.split("/")[0] for each in files}, files)

    def check_bucket(self) -> None:
        """Refuse a bucket that is absent, which restic would create.

        Raises:
            ChromaError: ``no_bucket``, and what the object store answers.
        """
        store = self.store
        try:
            # A listing is answered with a reason; a look at the bucket itself only with a number, also where the key is wrong.
            store.filesystem.get_file_info(pafs.FileSelector(store.root))
        except FileNotFoundError:
            # The bucket is there, and nothing below the prefix.
            return
        except (OSError, pa.ArrowException) as error:
            raise store_fault(f"Could not look at {store.location}", error, local=False) from error

    def check_parent(self) -> None:
        """Refuse a directory whose parent is absent: most likely a volume is not mounted.

        Raises:
            ChromaError: ``not_found``.
        """
        parent = self.settings.directory.parent
        if not parent.is_dir():
            raise ChromaError(
                "not_found",
                f"The repository {self.settings.directory} can't be created: there is no directory {parent}.",
                "Mount the volume that it is to be on, create the directory, or correct repository.",
            )

    def is_on(self, path: Path) -> bool:
        """Return whether a local repository is on the same volume as a path; it may not be there yet."""
        return self.settings.is_local and _device(self.settings.directory) == _device(path)


def judge(top: set[str], files: set[str]) -> str:
    """Return the state of a place without a config by the names at its top and the paths of its files."""
    if not top:
        return EMPTY
    if "config" in top:
        return MADE
    # Of a config that was being written only the beginning may be there.
    if not {each for each in top if not each.startswith("config-tmp-")} <= {*_FOLDERS, "tmp"}:
        return FOREIGN
    kinds = {each.split("/")[0] for each in files}
    if kinds & {"data", "index", "snapshots"}:
        return DAMAGED
    return BEGUN if top & set(_FOLDERS) else FOREIGN


def _device(path: Path) -> int:
    """Return the device of a path or of its nearest directory that is there."""
    for each in (path, *path.parents):
        if each.exists():
            return each.stat().st_dev
    raise AssertionError("there is always a root")
