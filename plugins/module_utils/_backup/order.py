# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for of a backup. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import AUTO, Policy
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import COLLECTION, FULL, INCREMENT

KINDS = (AUTO, FULL, INCREMENT, COLLECTION)


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Args:
        kind: one of :data:`KINDS`.
        collection: name, or ``tenant/database/name``; of kind ``collection`` only.
        source: the data directory; None where a server is only reached by its API.
        client: that server.
        policy: when a full backup is due.
        times: attempts at most.
        verify: whether the backup is read back.
        scratch: a directory on another volume for what is made meanwhile; the data volume by default.
        release: of the server, for a backup by the API.
    """

    kind: str = AUTO
    collection: str = ""
    source: Source | None = None
    client: ChromaClient | None = None
    policy: Policy = field(default_factory=Policy)
    times: int = 3
    verify: bool = True
    scratch: Path | None = None
    release: str = ""

    def check(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ChromaError: ``invalid_value``.
        """
        self.policy.check()
        if self.times < 1:
            raise ChromaError("invalid_value", f"max_retries is {self.times}.", "It is the number of attempts: at least 1.")
        if self.source and not (self.source.pause > 0 and self.source.tries >= 1):
            message = f"pause is {self.source.pause:g} and pause_tries {self.source.tries}."
            hint = "Writers wait for a time above 0, and it is tried at least once; otherwise the server would be stopped each time."
            raise ChromaError("invalid_value", message, hint)
        if (self.kind == COLLECTION) != bool(self.collection):
            hint = "Set both kind: collection and the collection's name, or neither."
            raise ChromaError("invalid_value", f"kind is {self.kind} and collection {self.collection!r}.", hint)
        if self.source is None and self.kind != COLLECTION:
            message = f"A backup of kind {self.kind} needs the data directory, not a url."
            raise ChromaError("invalid_value", message, "Run it beside the data with path, or back up one collection.")
