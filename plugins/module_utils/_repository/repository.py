# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository of backups. FOR INTERNAL COLLECTION USE ONLY.

Each backup is one snapshot of restic. What is not marked as ours is never shown, restored or removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import IO

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.creation import create as create_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.creation import refuse
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.damage import find_damage
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.faults import NO_REPOSITORY
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone, RepositoryLock
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.mending import Mended, mend
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Message, Taken
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import (
    MARK,
    Restored,
    Saved,
    Snapshot,
    check_tags,
    select,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.trees import OTHER_KIND, bring_back, save
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.working import Workplace

# Bytes of a file that is read into memory.
LONGEST_FILE = 256 << 20


def open_repository(
    settings: RepositorySettings, *, create: bool = False, gone: Gone = lambda _hostname: False, known: Sequence[Snapshot] = ()
) -> Repository:
    """Open the repository of backups.

    Args:
        settings: where it is.
        create: whether it is made where there is none; :attr:`Repository.created` says whether it was.
        gone: says whether a host that a left lock names is gone for sure, see :func:`locks.pods_gone`.
        known: what an earlier :attr:`Repository.known` said. Where the repository still holds just these, restic is not asked; then what
            else is wrong, the password for example, is told by the first call that needs restic, or by :meth:`Repository.confirm`.

    Raises:
        ChromaError: ``missing_restic``, ``old_restic``, ``invalid_value``; ``no_repository``; ``wrong_password``; ``foreign_repository``
            where something else is there, also snapshots of which none is ours; ``newer_repository``; ``damaged_repository``;
            ``no_bucket``, ``forbidden``, ``no_space``, ``unreachable``, ``timeout``, ``unavailable``, ``tls``, ``clock_skew``.
    """
    repository = Repository(Workplace(Restic(settings), Place(settings), gone))
    repository.open(create, known)
    return repository


def check_apart(settings: RepositorySettings, data: Path) -> None:
    """Refuse a repository inside of the data directory whose backups it is for, or the other way round; to be called before it is made.

    Raises:
        ChromaError: ``invalid_value``.
    """
    if not settings.is_local:
        return
    repository, source = settings.directory.resolve(), data.resolve()
    if repository.is_relative_to(source) or source.is_relative_to(repository):
        message = f"The repository {repository} and the data directory {source} are one inside of the other."
        raise ChromaError("invalid_value", message, "Choose a place for the backups outside of the data directory.")


class Repository:
    """An open repository; see :func:`open_repository`. All methods raise :class:`ChromaError` as it does, and those that are named.

    Attributes:
        location: a directory, or ``s3://bucket/prefix``.
        created: whether it was made when it was opened.
        unreadable: restic's ids of snapshots that could not be read when they were listed last, see :mod:`unreadable`.
    """

    def __init__(self, work: Workplace) -> None:
        self._work = work
        self._restic = work.restic
        self._place = work.place
        self.location = work.location
        self.created = False
        self.unreadable: tuple[str, ...] = ()
        # By restic's id, under which nothing ever changes.
        self._known: dict[str, Snapshot] = {}
        # What was seen when it was opened, until it was asked for: each start of restic takes half a second, for the password.
        self._seen: Sequence[Snapshot] | None = None
        self._asked = False

    @property
    def known(self) -> tuple[Snapshot, ...]:
        """All snapshots, those of others among them, as they were seen last and changed here since."""
        return tuple(self._known.values())

    def open(self, create: bool, known: Sequence[Snapshot] = ()) -> None:
        """See :func:`open_repository`."""
        listing = self._work.look(known)
        self._asked = listing.snapshots is not known
        if listing.outcome.code == NO_REPOSITORY:
            if not create:
                refuse(self._place, self._place.state(), wanted=False)
            self.created = create_repository(self._restic, self._place)
            listing = self._work.all_snapshots()
        elif listing.outcome.code:
            raise self._work.fault("Could not open the repository", listing.outcome)
        found, self.unreadable = listing.snapshots, listing.unreadable
        if found and not self.unreadable and not any(each.is_ours for each in found):
            raise ChromaError(
                "foreign_repository",
                f"The repository {self.location} holds {len(found)} snapshots, of which none is a backup of Chroma.",
                "Choose an empty place for the backups, or correct repository. What is there stays as it is.",
            )
        self._seen = found

    def confirm(self) -> None:
        """Ask restic, unless that was done when it was opened: before something takes long, and before nothing else would."""
        if not self._asked:
            self.snapshots()

    def warn_of(self, data: Path) -> str:
        """Return what is to be said of this repository as the place for the backups of a data directory; empty for nothing.

        Raises:
            ChromaError: see :func:`check_apart`.
        """
        check_apart(self._restic.settings, data)
        if not self._restic.settings.is_local or not self._place.is_on(data):
            return ""
        return f"The repository {self.location} is on the same volume as the data in {data}: what destroys the one destroys the other."

    def backup(self, tree: Path, tags: Sequence[str], time: datetime, progress: Progress | None = None) -> Saved:
        """Bring a directory's content into the repository as one snapshot. All of it is read, whatever its times say.

        Args:
            tree: the directory; paths in the snapshot are relative to it.
            tags: of the snapshot, ``id=…`` among them; the mark is added.
            time: of the snapshot; whole seconds are kept.
            progress: of bytes.

        Raises:
            ChromaError: ``incomplete_backup`` where a file could not be read; nothing is left in the repository then.
        """
        self._seen = None
        marked = check_tags((MARK, *tags))
        if not any(each.startswith("id=") for each in marked):
            raise ChromaError("invalid_value", "A backup needs a tag id=….", "Pass it; without it nobody would know it again.")
        saved = save(self._work, tree, marked, time, progress)
        whole = time.replace(microsecond=0)
        self._known[saved.snapshot] = Snapshot(saved.snapshot, whole, marked, "", saved.files, saved.bytes, saved.stored)
        return saved

    def snapshots(self, tags: Sequence[str] = ()) -> tuple[Snapshot, ...]:
        """Return the backups, oldest first; those that have all of the tags, where some are given.

        The first time right after the repository was opened they are those that were there then.
        """
        found, self._seen = self._seen, None
        if found is None:
            listing = self._work.all_snapshots()
            found, self.unreadable = listing.snapshots, listing.unreadable
        self._known = {each.snapshot: each for each in found}
        return select(found, tags)

    def restore(self, snapshot: str, target: Path, include: Sequence[str] = (), progress: Progress | None = None) -> Restored:
        """Bring a backup's tree back, or parts of it. restic compares each part with its checksum.

        Args:
            snapshot: restic's id.
            target: directory that is absent or empty; it is empty again where this fails.
            include: paths in the tree, for example ``data/chroma.sqlite3`` or ``increment``; all where there are none.
            progress: of bytes.

        Raises:
            ChromaError: ``not_empty``, ``not_found``; ``damaged_repository`` names the backup, and the files in ``result``.
        """
        return bring_back(self._work, self._ours(snapshot), target, include, progress)

    def read_file(self, snapshot: str, path: str, limit: int = LONGEST_FILE) -> bytes:
        """Return the content of one file of a backup.

        Args:
            snapshot: restic's id.
            path: in the tree, for example ``manifest.json``.
            limit: bytes.

        Raises:
            ChromaError: ``not_found`` where the backup has no such file, ``too_large``.
        """
        backup = self._ours(snapshot)
        # Without a lock: nothing of a backup that is there is ever removed, and taking one costs as long as reading a small file.
        content, outcome = self._restic.read(limit, "dump", snapshot, "/" + path.strip("/"), "--no-lock")
        if len(content) > limit:
            raise ChromaError("too_large", f"{path} of backup {backup.backup} has more than {limit} bytes.", "Restore it to a directory.")
        if "not found in snapshot" in outcome.text:
            raise ChromaError("not_found", f"Backup {backup.backup} has no file {path}.", OTHER_KIND)
        if outcome.code:
            fault = self._work.fault(f"Could not read {path} of backup {backup.backup} from", outcome)
            fault.result |= {"backups": [backup.backup]}
            raise fault
        return content

    def read_folder(self, snapshot: str, path: str, take: Callable[[IO[bytes]], Taken]) -> Taken:
        """Hand a folder of a backup over as a tar archive, whose names begin with the path; no room is needed for it.

        Args:
            snapshot: restic's id.
            path: in the tree, for example ``data``.
            take: reads the archive to its end and returns what it makes of it; it may be cut off, and then this raises.
        """
        backup = self._ours(snapshot)

        def take_all(archive: IO[bytes]) -> Taken:
            found = take(archive)
            while archive.read(1 << 20):
                pass  # what pads it
            return found

        taken, outcome = self._restic.stream(take_all, "dump", "--archive", "tar", snapshot, "/" + path.strip("/"), "--no-lock")
        if outcome.code:
            fault = self._work.fault(f"Could not read {path} of backup {backup.backup} from", outcome)
            fault.result |= {"backups": [backup.backup]}
            raise fault
        return taken

    def retag(self, snapshot: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> str:
        """Change the tags of a backup and return the id that restic has for it from now on.

        It is one step: whoever is interrupted in it leaves the snapshot as it was, or twice, the old and the new one.
        """
        self._ours(snapshot)
        self._seen = None
        changes = [argument for each in check_tags(add) for argument in ("--add", each)]
        changes += [argument for each in check_tags(remove) for argument in ("--remove", each)]
        new = snapshot

        def see(message: Message) -> None:
            nonlocal new
            if message.get("message_type") == "changed":
                new = message["new_snapshot_id"]

        outcome = self._work.locked(lambda: self._restic.run("tag", *changes, snapshot, on_message=see))
        # It only warns where it could not change a snapshot.
        if outcome.code or outcome.complaints:
            raise self._work.fault("Could not note something on a backup in", outcome)
        before = self._known.pop(snapshot)
        tags = (*(each for each in before.tags if each not in {*add, *remove}), *add)
        self._known[new] = replace(before, snapshot=new, tags=tags)
        return new

    def forget(self, snapshots: Sequence[str], prune: bool = False) -> None:
        """Remove snapshots of backups, these and no others; what only they need goes with ``prune``, and otherwise at the next one."""
        if not snapshots:
            return
        for each in snapshots:
            self._ours(each)
        self._seen = None
        outcome = self._work.locked(lambda: self._restic.run("forget", *snapshots, *(["--prune"] if prune else [])))
        if outcome.code:
            raise self._work.fault("Could not remove backups from", outcome)
        for each in snapshots:
            self._known.pop(each, None)

    def prune(self) -> None:
        """Give back the room of what no backup needs any more: of those that were removed, and of interrupted ones."""
        outcome = self._work.locked(lambda: self._restic.run("prune"))
        if outcome.code:
            raise self._work.fault("Could not tidy up", outcome)

    def check(self, read_data: bool = False, lock: bool = True) -> float:
        """Check that the repository is whole; return how many seconds it took.

        Args:
            read_data: read all of it and compare it with its checksums; otherwise which files are there, and how they hang together.
            lock: keep others out meanwhile; without it, what they do at this very moment may look like damage.

        Raises:
            ChromaError: ``damaged_repository``; ``backups`` in ``result`` are those concerned, with ``files``, ``packs``, ``complaints``.
        """
        arguments = [*(["--read-data"] if read_data else []), *([] if lock else ["--no-lock"])]
        outcome = self._work.locked(lambda: self._restic.run("check", *arguments))
        if not outcome.code:
            return round(outcome.seconds, 3)
        fault = self._work.fault("A check found damage in", outcome)
        if fault.code != "damaged_repository":
            raise fault
        damage = find_damage(self._restic, outcome, self.snapshots())
        named = ", ".join(damage.backups[:10]) or "none"
        raise ChromaError(fault.code, f"{fault.message} Backups concerned: {named}.", fault.hint, asdict(damage))

    def mend(self, complaints: Sequence[str]) -> Mended:
        """Take packs that are damaged for sure out of the index, so that the next backup brings their content; see :func:`mending.mend`."""
        return mend(self._work, complaints, self.snapshots())

    def unlock(self) -> tuple[RepositoryLock, ...]:
        """Remove the locks that provably nobody holds, and return them."""
        return self._work.unlock()

    def _ours(self, snapshot: str) -> Snapshot:
        """Return one of our snapshots by its whole id."""
        if snapshot not in self._known:
            self.snapshots()
        if snapshot not in self._known:
            # It has come since the repository was opened.
            self.snapshots()
        if snapshot in self._known and self._known[snapshot].is_ours:
            return self._known[snapshot]
        raise ChromaError("not_found", f"The repository {self.location} has no backup with snapshot {snapshot}.", "List the backups.")
