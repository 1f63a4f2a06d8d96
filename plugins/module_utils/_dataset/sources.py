# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the records of an export come from: a data directory, or a server. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import index_settings
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


@dataclass(frozen=True)
class SourceCollection:
    """A collection that can be exported; the fields are those of :class:`manifest.DatasetCollection`.

    Args:
        records: how many it has now.
        handle: what its source knows it by.
    """

    id: str
    name: str
    tenant: str
    database: str
    dimension: int | None
    space: str
    metadata: Mapping[str, Any]
    configuration: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    embedding_function: Mapping[str, Any] | None
    records: int
    handle: Any = field(repr=False, compare=False)


class Source(Protocol):
    """What an export reads from.

    Attributes:
        kind: ``directory`` or ``server``.
        version: what the server calls itself; None of a directory.
        consistent: whether all records that it yields are of one moment.
        path: of the directory; None of a server.
        lasts: seconds for which the finished parts of an interrupted export are gone on with, where the fingerprint is the same.
    """

    kind: str
    version: str | None
    consistent: bool
    path: Path | None
    lasts: float

    def select(self, names: Sequence[str] | None) -> tuple[SourceCollection, ...]:
        """Return the collections of these names, or all; ``not_found`` where one is absent."""

    def fingerprint(self, collections: Sequence[SourceCollection]) -> str:
        """Return text that differs where the records differ."""

    def schema(self, collection: SourceCollection) -> Any:
        """Return the Arrow schema of a collection's batches."""

    def batches(self, collection: SourceCollection, start: int) -> Iterator[Any]:
        """Yield a collection's records from number ``start`` on as record batches, always in the same order."""

    def confirm(self, collections: Sequence[SourceCollection]) -> None:
        """Check that what was read is of one state; ``directory_changed`` or ``collection_changed`` where it is not."""


class DirectorySource:
    """A data directory that no server writes to.

    Args:
        directory: opened by :func:`_datadir.directory.open_directory`.
    """

    kind = "directory"
    version: str | None = None
    consistent = True
    # The fingerprint covers every byte.
    lasts = math.inf

    def __init__(self, directory: DataDirectory) -> None:
        self._directory = directory
        self.path: Path | None = Path(directory.path)
        self._before = directory.fingerprint()

    def select(self, names: Sequence[str] | None) -> tuple[SourceCollection, ...]:
        """Return the collections of these names in any tenant and database, or all."""
        stored = sorted(self._directory.collections(), key=lambda each: (each.tenant, each.database, each.name))
        return tuple(map(self._described, chosen(stored, names, f"the data directory {self._directory.path}")))

    def fingerprint(self, collections: Sequence[SourceCollection]) -> str:
        """Return the state of the directory's files when it was opened."""
        return self._before

    def schema(self, collection: SourceCollection) -> Any:
        """Return the Arrow schema of a collection's batches."""
        return self._directory.schema(collection.handle)

    def batches(self, collection: SourceCollection, start: int) -> Iterator[Any]:
        """Yield a collection's records from number ``start`` on."""
        return iter(self._directory.batches(collection.handle, start=start))

    def confirm(self, collections: Sequence[SourceCollection]) -> None:
        """Check that no file of the directory changed since it was opened."""
        self._directory.check_unchanged()

    def _described(self, stored: StoredCollection) -> SourceCollection:
        return SourceCollection(
            id=stored.id,
            name=stored.name,
            tenant=stored.tenant,
            database=stored.database,
            dimension=stored.dimension,
            space=stored.space,
            metadata=dict(stored.metadata),
            configuration=stored_settings(stored),
            schema=stored.schema,
            embedding_function=stored_function(stored),
            records=self._directory.count(stored),
            handle=stored,
        )


def stored_settings(stored: StoredCollection) -> dict[str, Any]:
    """Return the index settings in effect by the names of ``_answers.HNSW_KEYS``, as a server of the directory's release says them.

    1.5 keeps them in the schema, 1.0 in the configuration, 0.x in the ``hnsw:`` keys of the metadata.
    """
    vectors = _vector_index(stored)
    modern = vectors.get("hnsw") or _at(stored.configuration, "vector_index", "hnsw")
    described = {"hnsw": modern} if modern else stored.configuration or {}
    return {**index_settings(described, {**stored.metadata, **stored.index_metadata}), "space": stored.space}


def stored_function(stored: StoredCollection) -> Mapping[str, Any] | None:
    """Return what clients are told to embed text with, as 1.x stores it; None where there is none."""
    found = _vector_index(stored).get("embedding_function") or _at(stored.configuration, "embedding_function")
    return found if isinstance(found, Mapping) else None


def _vector_index(stored: StoredCollection) -> Mapping[str, Any]:
    found = _at(stored.schema, "keys", "#embedding", "float_list", "vector_index", "config")
    return found if isinstance(found, Mapping) else {}


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def chosen(found: Sequence[Any], names: Sequence[str] | None, where: str) -> list[Any]:
    """Return the collections that are wanted, by name, id, or ``tenant/database/name``; a name means all that are called so.

    Raises:
        ChromaError: ``not_found``, see :func:`choose`.
    """
    exact = {spelling for each in found for spelling in (each.id, f"{each.tenant}/{each.database}/{each.name}")} & set(names or ())
    others = None if names is None else [each for each in names if each not in exact]
    wanted = choose(others, [each.name for each in found], where) | exact
    return [each for each in found if wanted & {each.name, each.id, f"{each.tenant}/{each.database}/{each.name}"}]


def choose(names: Sequence[str] | None, known: Sequence[str], where: str) -> set[str]:
    """Return the names that are wanted.

    Args:
        names: wanted; None means all.
        known: those that there are.
        where: what holds them, for the message.

    Raises:
        ChromaError: ``not_found``, with the names that are like the wanted one.
    """
    if names is None:
        return set(known)
    unknown = [each for each in names if each not in known]
    if not unknown:
        return set(names)
    like = difflib.get_close_matches(unknown[0], sorted(set(known)), n=3, cutoff=0.5)
    held = f"It has {', '.join(sorted(set(known))[:10])}{' …' if len(set(known)) > 10 else ''}." if known else "It has none."
    hint = f"Did you mean {' or '.join(like)}?" if like else held
    raise ChromaError("not_found", f"There is no collection {', '.join(unknown)} in {where}.", hint)
