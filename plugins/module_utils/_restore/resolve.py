# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup is meant, and what has to be there to restore it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import Catalogue, holds, rfc3339
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import refuse_unreadable, unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import COLLECTION, FULL, INCREMENT, RESTORE_POINT

LATEST = "latest"
# What stands for a point in time that somebody wanted to keep; a restore point is what somebody wanted to be rid of.
POINTS = (FULL, INCREMENT)


@dataclass(frozen=True)
class Resolution:
    """The backup that was chosen.

    Args:
        backup: to be restored.
        chain: all that is needed: its base first, itself last.
        note: why this one, where a time was given.
    """

    backup: Backup
    chain: tuple[Backup, ...]
    note: str = ""

    @property
    def base(self) -> Backup:
        """What the replay begins with."""
        return self.chain[0]

    @property
    def increments(self) -> tuple[Backup, ...]:
        """What is replayed, in this order."""
        return self.chain[1:]


def choose(repository: Repository, newest: bool, find: Callable[[], Resolution]) -> Resolution:
    """Return the backup that is meant, out of a repository of which perhaps not every snapshot can be read.

    Args:
        newest: whether it is the newest one, or that of a time: such a snapshot may be just that. Then only an id is an answer.
        find: looks for it among those that can be read, see :func:`resolve` and :func:`restore_point`.

    Raises:
        ChromaError: ``damaged_repository``; those of ``find``, which say it too where the backup, or what it follows on, may be there.
    """
    hint = ""
    try:
        found = find()
        hint = f"The newest one among the others is {found.backup.id}: name that one, if it will do."
    except ChromaError as error:
        if not newest or not repository.unreadable:
            error.hint = " ".join(filter(None, [error.hint, unreadable(repository)]))
            raise
    if newest:
        refuse_unreadable(repository, "The newest one is not known for sure, and an older one is never taken in silence.", hint)
    return found


def resolve(
    catalogue: Catalogue, backup: str = LATEST, as_of: datetime | None = None, collection: str = "", now: datetime | None = None
) -> Resolution:
    """Return the backup that is meant.

    Args:
        catalogue: of the repository.
        backup: its id, or :data:`LATEST`.
        as_of: instead, the newest one whose state is not later than this. One whose clock was behind is never meant by a time: nobody knows
            when it was made.
        collection: the one to be restored, by name or ``tenant/database/name``: then only backups that hold it count, those of one
            collection among them. Empty for the whole directory.
        now: replaces the time of day in unit tests, UTC.

    Raises:
        ChromaError: ``not_found``; ``unsupported`` for a backup of one collection; ``broken_chain`` where a part is not there, naming it
            and the newest that can be restored instead. An older one is never taken in silence.
    """
    if backup != LATEST:
        return _whole(catalogue, _check_kind(catalogue.require(backup), bool(collection)))
    known = [each for each in catalogue.backups if not each.pending and _counts(each, collection)]
    moments = catalogue.moments(now or datetime.now(UTC))
    fit = [each for each in known if as_of is None or moments[each.id] <= each.created <= as_of]
    if not fit:
        raise _nothing(known, moments, as_of, collection)
    chosen = max(fit, key=lambda each: each.order)
    return _whole(catalogue, chosen, _note(chosen, known, moments, as_of) if as_of else "")


def restore_point(catalogue: Catalogue, name: str = LATEST, known: Collection[str] = ()) -> Resolution:
    """Return the restore point that an undo brings back: the newest, or the one of this id.

    Args:
        known: ids of those that were made of this directory. Only they can be the newest: the repository may be shared, and a restore
            point of a directory that was new says nothing of whose it is.

    Raises:
        ChromaError: ``not_found``; ``unsupported`` for a backup that is no restore point.
    """
    if name == LATEST:
        # One of a restore that was not done holds what is there now.
        found = [each for each in catalogue.backups if each.kind == RESTORE_POINT and each.swapped]
        mine = [each for each in found if each.id in known]
        if found and not mine:
            raise ChromaError(
                "not_found",
                "No restore point in the repository is one that a restore of this directory made, as far as the directory knows.",
                "If one is meant all the same, name it (restore_point); chroma_backup_info (backups) lists them, of kind restore-point.",
            )
        if not mine:
            raise ChromaError(
                "not_found",
                "There is no restore point in the repository: nothing was restored, so there is nothing to undo.",
                "To go back to a backup, use chroma_restore (30_restore).",
            )
        return Resolution(mine[-1], (mine[-1],))
    chosen = catalogue.require(name)
    if chosen.kind != RESTORE_POINT:
        raise ChromaError(
            "unsupported", f"Backup {name} is no restore point but of kind {chosen.kind}.", "Use chroma_restore (30_restore)."
        )
    return Resolution(chosen, (chosen,))


def restorable_before(catalogue: Catalogue, backup: Backup) -> Backup | None:
    """Return the newest point in time before a backup of which everything is there; one of the same data directory."""
    mine = catalogue.of(backup.instance).backups
    before = (each for each in reversed(mine) if each.order < backup.order and each.kind in POINTS and not each.pending)
    return next((each for each in before if catalogue.chain(each).restorable), None)


def instead(catalogue: Catalogue, backup: Backup) -> str:
    """Say what can be restored where a backup can't."""
    before = restorable_before(catalogue, backup)
    if before is None:
        return "No backup before it can be restored; chroma_backup_info (backups) lists all."
    return f"The newest one before it that can be restored is {before.id} ({rfc3339(before.created)}, {before.records} records)."


def parse_moment(text: str, option: str = "as_of") -> datetime:
    """Return a moment from ISO 8601; UTC where no zone is named.

    Args:
        option: that it was given by, for the message.

    Raises:
        ChromaError: ``invalid_value``.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ChromaError("invalid_value", f"{option} is {text!r}, which is no time.", "Use the form 2026-08-31T14:00:00Z.") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _counts(backup: Backup, collection: str) -> bool:
    if not collection:
        return backup.kind in POINTS
    return backup.kind in (*POINTS, COLLECTION) and holds(backup, collection) is not False


def _check_kind(chosen: Backup, collection: bool) -> Backup:
    if chosen.pending:
        raise ChromaError(
            "not_found",
            f"Backup {chosen.id} was not finished.",
            "Take another one; the next backup removes it, if it is not at work still.",
        )
    if chosen.kind == COLLECTION and not collection:
        held = ", ".join(chosen.collections)
        raise ChromaError(
            "unsupported",
            f"Backup {chosen.id} holds one collection ({held}), and no data directory.",
            "Name the collection and a new name for it: it is restored beside the others, into the running server.",
        )
    return chosen


def _whole(catalogue: Catalogue, chosen: Backup, note: str = "") -> Resolution:
    chain = catalogue.chain(chosen)
    if chain.restorable:
        return Resolution(chosen, chain.backups, note)
    raise ChromaError(
        "broken_chain",
        f"Backup {chosen.id} ({rfc3339(chosen.created)}) can't be restored: it follows on {chain.missing}, which is not in the repository.",
        instead(catalogue, chosen),
        {"missing": chain.missing},
    )


def _nothing(known: list[Backup], moments: Mapping[str, datetime], as_of: datetime | None, collection: str) -> ChromaError:
    if known and as_of:
        message = f"There is no backup{f' of {collection}' if collection else ''} as old as {rfc3339(as_of)}."
        timed = [each for each in known if moments[each.id] <= each.created]
        first = min(timed, key=lambda each: each.created) if timed else None
        oldest = f"The oldest is {first.id} of {rfc3339(first.created)}." if first else ""
        return ChromaError("not_found", message, " ".join(filter(None, [oldest, _behind(known, moments, as_of)])))
    return ChromaError(
        "not_found",
        f"There is no backup of {collection or 'the whole directory'} in the repository.",
        "Is it the right repository? chroma_backup_info (backups) lists what is in it.",
    )


def _note(chosen: Backup, known: list[Backup], moments: Mapping[str, datetime], as_of: datetime) -> str:
    later = [each for each in known if each.created > as_of]
    following = min(later, key=lambda each: each.created) if later else None
    said = f"As of {rfc3339(as_of)} means backup {chosen.id}, of {rfc3339(chosen.created)}: the newest one that is not later."
    # Those before it would hold less.
    behind = _behind([each for each in known if each.order > chosen.order], moments, as_of)
    if following:
        said += f" What was written between them is not in it; the next one, {following.id}, is of {rfc3339(following.created)}."
    elif not behind:
        said += " No later one is there."
    return f"{said} {behind}".strip()


def _behind(known: list[Backup], moments: Mapping[str, datetime], as_of: datetime) -> str:
    """Say which backups have a time that fits and is not true; empty where there are none."""
    found = [each for each in known if each.created <= as_of and each.created < moments[each.id]]
    if not found:
        return ""
    named = ", ".join(f"{each.id} ({rfc3339(each.created)})" for each in found[-5:])
    return (
        f"The clock was set back: by their numbers these were made later than their times say: {named}. If one of them is meant, name it."
    )
