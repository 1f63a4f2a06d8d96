# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking damaged packs out of a repository, so that what was in them can be brought in anew. FOR INTERNAL COLLECTION USE ONLY.

restic does not write what its index says is there. Where a pack is damaged, a second backup of the same data would lack the same parts;
once the damaged parts are out of the index, it brings them again, and older backups that need them are whole again too. What older backups
need and no later one brings is lost with that, so a pack goes only for its own sake: read twice more, each time the same, and each time
another content than its name says. A disk or a line that errs now and then costs nothing.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.damage import backups_of_packs
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import Snapshot
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.working import Workplace

# "decrypting blob <data/317222a6> from b700ea3f failed", "ReadFull(<data/9ad962a483>): …", "Load(<data/9ad962a483>, 250, 1207) failed: …"
_PACK = re.compile(r"\bfrom ([0-9a-f]{8,64}) failed|(?:Load|ReadFull)\(<data/([0-9a-f]{8,64})>")
# restic makes packs of 128 MiB at most, and a little more; bytes.
_LONGEST_PACK = 256 << 20


@dataclass(frozen=True)
class Mended:
    """What was taken out of a repository's index.

    Args:
        packs: ids of the damaged packs.
        backups: ids of the backups that have parts in them, and need a later one that brings these parts again.
        index: whether the index was made anew, because packs are absent that it names, or because it may be damaged itself.
    """

    packs: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()
    index: bool = False


def named_starts(complaints: Iterable[str]) -> set[str]:
    """Return the first digits of the packs' ids that complaints name."""
    return {part for line in complaints for found in _PACK.finditer(line) for part in found.groups() if part}


def named_packs(complaints: Iterable[str], packs: Iterable[str]) -> tuple[str, ...]:
    """Return the packs of a repository that complaints name by the first digits of their ids."""
    starts = named_starts(complaints)
    return tuple(sorted(each for each in packs if any(each.startswith(start) for start in starts)))


def is_damaged(pack: str, read: Callable[[str], bytes | None]) -> bool:
    """Return whether a pack is damaged for sure: read twice, with the same content, which is not that of its name.

    Source: a pack's id is the SHA-256 of its content, https://github.com/restic/restic/blob/master/doc/design.rst#pack-format

    Args:
        pack: its id.
        read: returns its content; None where it could not be read, of which nobody knows whether it passes.
    """
    contents = (read(pack), read(pack))
    first, second = (None if each is None else hashlib.sha256(each).hexdigest() for each in contents)
    return first is not None and first == second != pack


def mend(work: Workplace, complaints: Sequence[str], snapshots: Sequence[Snapshot]) -> Mended:
    """Take packs that are damaged for sure, and those that are absent, out of the index, and warn of it.

    What can be read in a damaged pack is kept in a new one.

    Source: https://restic.readthedocs.io/en/stable/077_troubleshooting.html

    Args:
        work: the repository.
        complaints: of a restore or a check that found ``damaged_repository``.
        snapshots: the repository's.

    Raises:
        ChromaError: what restic answers.
    """
    there, starts = _packs(work), named_starts(complaints)
    named = named_packs(complaints, there)
    damaged = tuple(each for each in named if is_damaged(each, lambda pack: _content(work, pack)))
    others = ", ".join(each for each in named if each not in damaged)
    if others:
        emit("warning", message=f"Packs {others} of {work.location} stay as they are: read twice more, they are not always damaged.")
    backups = backups_of_packs(work.restic, damaged, snapshots) if damaged else ()
    if damaged:
        emit(
            "warning",
            message=f"Packs {', '.join(damaged)} of {work.location} are damaged, and are taken out of its index. Of the backups that have "
            f"parts in them, those can't be restored whose parts no later backup brings again: {', '.join(backups) or 'none'}.",
        )
        # It leaves copies of the damaged packs in its working directory; nobody can decrypt what is damaged in them.
        with tempfile.TemporaryDirectory(prefix="chroma-packs-") as scratch:
            outcome = work.locked(lambda: work.restic.run("repair", "packs", *damaged, cwd=Path(scratch)))
        if outcome.code:
            raise work.fault("Could not take damaged packs out of", outcome)
    absent = sorted(each for each in starts if not any(pack.startswith(each) for pack in there))
    # An index is made of what is listed: a listing that lacks packs now and then would make one that lacks them too.
    renewed = bool(absent or not starts) and there == _packs(work)
    if renewed:
        why = f"packs {', '.join(absent)} are absent" if absent else "it may be what is damaged"
        emit("warning", message=f"The index of {work.location} is made anew of the packs that are there: {why}.")
        outcome = work.locked(lambda: work.restic.run("repair", "index"))
        if outcome.code:
            raise work.fault("Could not mend the index of", outcome)
    return Mended(damaged, backups, renewed)


def _packs(work: Workplace) -> list[str]:
    there: list[str] = []
    outcome = work.restic.run("list", "packs", "--no-lock", on_line=lambda line: there.append(line.strip()))
    if outcome.code:
        raise work.fault("Could not list the files of", outcome)
    return sorted(there)


def _content(work: Workplace, pack: str) -> bytes | None:
    """Return what a pack holds, damaged or not; None where it could not be read."""
    content, outcome = work.restic.read(_LONGEST_PACK, "cat", "pack", pack, "--no-lock")
    return None if outcome.code else content
