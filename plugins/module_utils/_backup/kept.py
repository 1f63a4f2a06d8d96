# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup keeps on the data volume, so that the next one starts restic less often. FOR INTERNAL COLLECTION USE ONLY.

Each start takes half a second or more, for the password. The id of a snapshot is the checksum of what it is: a list of snapshots is right
where its ids are those in the repository, and the files of a backup are right where its snapshot is the one that they are of. Whatever is
not as it was is asked of restic, as without a kept file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._documents import INVALID, known
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot

NAME = "last-backup.json"
VERSION = 1


@dataclass(frozen=True)
class Kept:
    """What is kept.

    Args:
        snapshots: all of the repository, those of others among them.
        backup: id of the one that the next increment may follow on; empty for none.
        manifest, anchors: its files of these names.
    """

    snapshots: tuple[Snapshot, ...] = ()
    backup: str = ""
    manifest: str = ""
    anchors: str = ""

    def files_of(self, backup: Backup) -> tuple[bytes, bytes] | None:
        """Return manifest and anchors of a backup as the repository has them; None where they are not known for sure."""
        mine = [each.snapshot for each in self.snapshots if each.backup == backup.id]
        if backup.id != self.backup or mine != [backup.snapshot]:
            return None
        return self.manifest.encode(), self.anchors.encode()


def read_kept(directory: Path) -> Kept:
    """Return what the last backup of a data directory kept; nothing where it is absent, damaged, or of another release."""
    try:
        with os.fdopen(os.open(directory / PRIVATE / NAME, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            digest, _line, content = file.read().partition(b"\n")
        if digest.decode() != hashlib.sha256(content).hexdigest():
            return Kept()
        loaded = json.loads(content)
        if loaded["version"] != VERSION:
            return Kept()
        snapshots = tuple(
            Snapshot(**{**known(Snapshot, each), "time": datetime.fromisoformat(each["time"]), "tags": tuple(each["tags"])})
            for each in loaded["snapshots"]
        )
        return Kept(snapshots, loaded["backup"], loaded["manifest"], loaded["anchors"])
    except (OSError, *INVALID):
        return Kept()


def keep(directory: Path, kept: Kept) -> None:
    """Keep it for the next backup of a data directory, whose lock is held. That there is no room for it is no reason to fail."""
    ours = [each.backup for each in kept.snapshots if each.is_ours]
    # Two of one id are told apart by their trees, which of those that were made just now only restic knows: it is asked the next time.
    told = kept.snapshots if len(ours) == len(set(ours)) else ()
    snapshots = [{**vars(each), "time": each.time.isoformat()} for each in told]
    content = json.dumps({"version": VERSION, **vars(kept), "snapshots": snapshots}).encode()
    path = directory / PRIVATE / NAME
    written = path.with_name(f"{NAME}.new")
    with contextlib.suppress(OSError):
        written.unlink(missing_ok=True)
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        written.replace(path)
