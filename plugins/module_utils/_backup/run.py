# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a backup: a tree in scratch, into the repository, back from it, proven, marked as verified. FOR INTERNAL COLLECTION USE ONLY.

Until it is proven a backup has the tag ``pending``. Nobody restores from it, no increment follows on it; one whose operation died is
removed by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.attempts import SNAPSHOT, TAG, UPLOAD, VERIFICATION, Attempt, attempts
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.proving import MOST_IMPORTED, prove
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import PENDING, parse_backup, tags_of, verified_tags
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.ticking import ticking
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.verify import Proof
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.views import as_result
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress, emit
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import MARK, Snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupManifest
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import remove_tree

Step = Callable[..., None]


class NothingChanged(Exception):
    """An increment would hold nothing; no error, and never seen outside of :mod:`operation`."""


@dataclass(frozen=True)
class Made:
    """A backup that was made.

    Args:
        result: as the module returns it.
        proof: that it is right; None where it was not read back.
    """

    result: dict[str, Any]
    proof: Proof | None = None


@dataclass
class Making:
    """The making of one backup.

    Args:
        name: id of the backup.
        repository: open.
        catalogue: of it.
        room: an empty folder in scratch.
        make: makes the tree in a folder that is absent, and returns its manifest; raises :class:`NothingChanged`.
        step: told what is done next, for the journal.
        instance, lineage: of the data directory; empty for a backup by the API.
        verify: whether it is read back.
        times: attempts at most.
        most_opened: see :func:`proving.prove`.
        sleep: replaces waiting in unit tests, seconds.
    """

    name: str
    repository: Repository
    catalogue: Catalogue
    room: Path
    make: Callable[[Path], BackupManifest]
    step: Step
    instance: str = ""
    lineage: str = ""
    verify: bool = True
    times: int = 3
    most_opened: int = MOST_IMPORTED
    sleep: Callable[[float], None] = time.sleep

    def run(self) -> Made:
        """Try until it is right.

        Raises:
            ChromaError: see :func:`attempts`.
            NothingChanged: from ``make``.
        """
        return attempts(self.times, self._once, self._clean, self.sleep)

    def _once(self, attempt: Attempt) -> Made:
        tree, back = self.room / "tree", self.room / "back"
        self.step(SNAPSHOT, attempt=attempt.number)
        manifest = self.make(tree)
        attempt.phase = UPLOAD
        self.step(UPLOAD, attempt=attempt.number)
        if attempt.number > 1:
            # What could not be removed when the last attempt failed must not stand beside this one under the same id.
            self._forget()
        stored = self._upload(tree, manifest, attempt)
        # Its room is needed for what comes back.
        remove_tree(tree)
        if not self.verify:
            return Made(self._result(stored))
        attempt.phase = VERIFICATION
        self.step(VERIFICATION, attempt=attempt.number)
        began = time.monotonic()
        with Progress("read back", manifest.bytes, "bytes") as progress:
            self.repository.restore(stored.snapshot, back, progress=progress)
        proof = prove(back, manifest, self.room, parent=self.catalogue.find(manifest.parent), most_opened=self.most_opened)
        remove_tree(back)
        attempt.phase = TAG
        self.step(TAG, attempt=attempt.number)
        if manifest.parent:
            self._check_chain()
        tags = verified_tags(datetime.now(UTC), time.monotonic() - began, proof.opened)
        name = self.repository.retag(stored.snapshot, tags, (PENDING,))
        kept = tuple(each for each in stored.tags if each != PENDING)
        return Made(self._result(replace(stored, snapshot=name, tags=(*kept, *tags))), proof)

    def _upload(self, tree: Path, manifest: BackupManifest, attempt: Attempt) -> Snapshot:
        extra = [f"attempts={attempt.number}", *([PENDING] if self.verify else [])]
        tags = tags_of(manifest, self.catalogue.next_number, *extra, instance=self.instance, lineage=self.lineage)
        created = datetime.fromisoformat(manifest.created)
        with Progress("upload", manifest.bytes, "bytes") as progress:
            saved = self.repository.backup(tree, tags, created, progress)
        return Snapshot(saved.snapshot, created, (MARK, *tags), "", saved.files, saved.bytes, saved.stored)

    def _check_chain(self) -> None:
        """Look once more whether all is there that the backup follows on: a prune without the directory's lock may have taken it."""
        self.catalogue = catalogue_of(self.repository.snapshots())
        chain = self.catalogue.chain(self.catalogue.require(self.name))
        if not chain.restorable:
            message = f"Increment {self.name} follows on {chain.missing}, which is not in the repository any more."
            raise ChromaError("broken_chain", message, "Make a full backup: a new chain begins with it.", {"object": chain.missing})

    def _clean(self, attempt: Attempt, error: ChromaError) -> None:
        """Take away what an attempt left; the next backup does so where it is not possible now."""
        for each in self.room.iterdir():
            remove_tree(each)
        try:
            if attempt.phase != SNAPSHOT:
                self._forget()
            if error.code == "damaged_repository":
                # restic does not bring again what it takes for there.
                with ticking("mend"):
                    mended = self.repository.mend([error.message, *error.result.get("complaints", ())])
                if mended.packs or mended.index:
                    self.step("mend", packs=list(mended.packs), backups=list(mended.backups), index=mended.index)
        except ChromaError as second:
            emit("warning", message=f"What attempt {attempt.number} left is still in the repository: {second.message}")

    def _forget(self) -> None:
        """Remove what there is of this backup: by its id, for an upload or a change of tags may have been done although it failed."""
        self.repository.forget([each.snapshot for each in self.repository.snapshots((f"id={self.name}",))])

    def _result(self, stored: Snapshot) -> dict[str, Any]:
        """Return the backup as the catalogue has it from now on."""
        made = parse_backup(stored)
        if made is None:
            raise AssertionError("its tags are those of a backup")
        found = {each.id: each for each in (*self.catalogue.backups, made)}
        return as_result(Catalogue(tuple(found.values()), found), made)
