# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last good export into a new collection. FOR INTERNAL COLLECTION USE ONLY.

While the collection is filled, its metadata carry the token of its fault. So the next check knows a half one as its own, and goes on
with it, and nobody else's collection of that name is ever written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_from
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Readable, Source
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# The key in the metadata of a collection that is being filled; not that of ``_recovery``, which removes what it does not know.
MARK = "thinkube.chroma/fault"
# Seconds that one answer may take, at least.
TIMEOUT = 300.0


@dataclass(frozen=True)
class Marked:
    """A dataset whose one collection is created with a mark in its metadata, and which nothing is read of for another collection.

    Args:
        dataset: what is read.
        client, target: where it goes.
        token: the mark's value.
    """

    dataset: Readable
    client: ChromaClient
    target: str
    token: str

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return self.dataset.where

    @property
    def sources(self) -> tuple[Source, ...]:
        """Its collections, with the mark."""
        return tuple(self._marked(each) for each in self.dataset.sources)

    def pages(self, source: Source, rows: int) -> Iterator[Rows]:
        """Yield the records of a collection, once it was made.

        Raises:
            ChromaError: ``conflict`` where somebody made one of that name at the same moment: an import would fill that.
        """
        found = self.client.get_collection(self.target)
        if found is None or not carries(found.metadata, self.token):
            message = f"Collection {self.target} was made, or removed, by somebody else just now. Nothing was written to it."
            raise ChromaError("conflict", message, "Run it again: a check takes another name.")
        yield from self.dataset.pages(source, rows)

    def check(self, source: Source, lists: bool, advance: Callable[[int], None] = lambda count: None) -> None:
        """Read all of a collection, and refuse what is not as it was written."""
        self.dataset.check(source, lists, advance)

    def _marked(self, source: Source) -> Source:
        return replace(source, collection=replace(source.collection, metadata={**source.collection.metadata, MARK: self.token}))


def bring_back(dataset: Readable, client: ChromaClient, target: str, token: str, wait: float) -> int:
    """Fill a collection with an export, and read it back.

    Args:
        dataset: the export, of one collection.
        target: the collection's new name; it is absent, or carries the token.
        token: of the fault.
        wait: seconds that the server may be away.

    Returns:
        How many records it has; each was read back equal.

    Raises:
        ChromaError: see :func:`importing.import_from`.
    """
    # A large batch takes a busy server tens of seconds.
    patient = client.within(timeout=max(client.connection.timeout, TIMEOUT))
    marked = Marked(dataset, patient, target, token)
    [source] = marked.sources
    request = ImportRequest(rename={source.collection.id: target}, create_database=True, wait=wait)
    [outcome] = import_from(marked, patient, request)["collections"]
    return int(outcome["verified"])


def carries(metadata: Mapping[str, Any], token: str) -> bool:
    """Return whether a collection's metadata carry the mark of a fault."""
    return metadata.get(MARK) == token


def tidy(client: ChromaClient, target: str, token: str) -> None:
    """Remove the mark of a collection that is filled; nothing is done where it is gone."""
    found = client.get_collection(target)
    if found is not None and carries(found.metadata, token):
        client.update_collection(found, metadata={key: value for key, value in found.metadata.items() if key != MARK})
