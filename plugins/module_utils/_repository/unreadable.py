# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots that are in a repository and can't be read. FOR INTERNAL COLLECTION USE ONLY.

Their tags are encrypted like all of them, so such a one may be any backup: the newest, a base, a restore point. What asks for the newest,
or for what nobody needs, has no answer then.
"""

from __future__ import annotations

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import Repository

MEND = 'Try again: a store may fail for a while. If it stays so, see "Damage" in docs/repository.md.'


def unreadable(repository: Repository) -> str:
    """Return what is to be said of the snapshots that could not be read when they were listed last; empty where there were none."""
    if not repository.unreadable:
        return ""
    number = len(repository.unreadable)
    named = ", ".join(each[:12] for each in repository.unreadable[:5]) + (", …" if number > 5 else "")
    what = "A snapshot" if number == 1 else f"{number} snapshots"
    return f"{what} of {repository.location} can't be read, and may be any backup: {named}."


def refuse_unreadable(repository: Repository, consequence: str, hint: str = "") -> None:
    """Refuse what every backup has to be known for.

    Args:
        consequence: what is not done for that reason, a sentence.
        hint: what can be done instead, a sentence.

    Raises:
        ChromaError: ``damaged_repository``, with ``snapshots``.
    """
    if said := unreadable(repository):
        result = {"snapshots": list(repository.unreadable)}
        raise ChromaError("damaged_repository", f"{said} {consequence}", " ".join(filter(None, [hint, MEND])), result)
