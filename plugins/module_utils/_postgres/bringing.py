# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation of PostgreSQL into a server. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_from
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import DatasetCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import Source, check_batch, source_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Rows, rows_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import Postgres, connected
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation, find_generation, generations
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.making import intact, reading
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.reading import damaged, read_batches
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import Layout, read_layout
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.recovery import MARK, Marked, carries, tidy


@dataclass(frozen=True)
class Chosen:
    """What a user asks for.

    Args:
        collection: its name in PostgreSQL, or its id at the source.
        generation: its number; None for the current one, or the newest before it that is not damaged.
        from_tenant, from_database: that it was exported from; None for any.
        name: on the server; None for the same.
        overwrite: whether records that the server holds under that name become those of the generation.
        create_database, verify, batch_size, concurrency, wait: see ``_dataset.targets.ImportRequest``.
    """

    collection: str
    generation: int | None = None
    from_tenant: str | None = None
    from_database: str | None = None
    name: str | None = None
    overwrite: bool = False
    create_database: bool = False
    verify: bool = True
    batch_size: int | None = None
    concurrency: int = 4
    wait: float = 300.0


class GenerationDataset:
    """A generation, read as a dataset is; see ``_dataset.reading.Readable``.

    Args:
        postgres: a connection that nothing else uses meanwhile.
    """

    def __init__(self, postgres: Postgres, layout: Layout, generation: Generation) -> None:
        self._postgres, self._layout, self._generation = postgres, layout, generation
        self.where = f"{postgres.schema}.{postgres.table} of {postgres.settings.place}"
        self.sources: tuple[Source, ...] = (source_of(_described(generation)),)

    def pages(self, source: Source, rows: int) -> Iterator[Rows]:
        """Yield the records, ``rows`` at a time."""
        for batch in read_batches(self._postgres, self._layout, self._generation, rows):
            yield rows_of(batch, source.columns)

    def check(self, source: Source, lists: bool, advance: Callable[[int], None] = lambda count: None) -> None:
        """Read all of it, and refuse what is not as it was exported, or what Chroma would refuse later."""
        for batch in read_batches(self._postgres, self._layout, self._generation):
            check_batch(source, batch, lists)
            advance(batch.num_rows)


def import_generation(settings: PostgresSettings, client: ChromaClient, chosen: Chosen, check: bool = False) -> dict[str, Any]:
    """Bring a generation of a collection into a server, and read it back.

    Args:
        client: the server, with the tenant and the database for the collection.
        check: only look, and return what would be done.

    Returns:
        ``changed``, ``table``, ``generation``, ``created``, ``damaged`` (numbers of generations that should have been taken and could
        not), ``collections`` (one, see ``_dataset.bringing.Outcome.view``), ``diff``.

    Raises:
        ChromaError: ``not_found``, ``damaged_generation``; ``exists`` where the server holds other records under that name; see
            :func:`connection.connected` and ``_dataset.importing.import_from``.
    """
    with connected(settings) as postgres, postgres.attempting("Could not import"):
        layout = read_layout(postgres)
        generation = require_generation(
            postgres, chosen.collection, chosen.generation, chosen.from_tenant or "", chosen.from_database or ""
        )
        unusable: tuple[Generation, ...] = ()
        if chosen.generation is None:
            generation, unusable = newest_intact(postgres, layout, generation)
        with reading(postgres, generation):
            result = _bring(GenerationDataset(postgres, layout, generation), generation, client, chosen, check)
        del result["dataset"]
        about = {"table": f"{postgres.schema}.{postgres.table}", "generation": generation.number, "created": generation.created}
        return {**result, **about, "damaged": [each.number for each in unusable]}


def newest_intact(postgres: Postgres, layout: Layout, generation: Generation) -> tuple[Generation, tuple[Generation, ...]]:
    """Return a generation, or the newest one before it that still is as it was exported; and those that are not.

    Raises:
        ChromaError: ``damaged_generation`` where none is.
    """
    unusable: list[Generation] = []
    for each in generations(postgres):
        if each.place == generation.place and each.number <= generation.number:
            with reading(postgres, each):
                if intact(postgres, layout, each):
                    return each, tuple(unusable)
            unusable.append(each)
    raise damaged(postgres, generation, "its checksum is another, and no earlier one is whole")


def _bring(dataset: GenerationDataset, generation: Generation, client: ChromaClient, chosen: Chosen, check: bool) -> dict[str, Any]:
    """Fill a collection that is new, empty, or half filled with this generation; any other only where that is wanted."""
    request = ImportRequest(
        rename={generation.source_id: chosen.name} if chosen.name else {},
        create_database=chosen.create_database,
        verify=chosen.verify,
        batch_size=chosen.batch_size,
        concurrency=chosen.concurrency,
        wait=chosen.wait,
    )
    if chosen.overwrite:
        return import_from(dataset, client, request, check)
    name, token = chosen.name or generation.collection, f"generation {generation.number} of {generation.created}"
    found = client.get_collection(name)
    if found is not None and not carries(found.metadata, token):
        if check or client.count(found):
            result = import_from(dataset, client, request, check=True)
            if client.count(found) and result["changed"]:
                raise _exists(name, found.metadata.get(MARK))
            return result
        client.update_collection(found, metadata={**found.metadata, MARK: token})
    result = import_from(Marked(dataset, client, name, token), client, request, check)
    if not check:
        tidy(client, name, token)
    return result


def _exists(name: str, mark: Any) -> ChromaError:
    message = f"Collection {name} holds records that are not those of this generation. Nothing was written."
    if mark:
        hint = f"It was half filled by another import ({mark}): give that generation, remove the collection, or give another name."
    else:
        hint = "Give another name, or set overwrite where what was written to it since shall go."
    return ChromaError("exists", message, hint)


def require_generation(postgres: Postgres, collection: str, number: int | None = None, tenant: str = "", database: str = "") -> Generation:
    """Return a generation of a collection, see :func:`generations.find_generation`.

    Raises:
        ChromaError: ``not_found``.
    """
    found = find_generation(postgres, collection, number, tenant, database)
    if found is None:
        every = generations(postgres)
        held = sorted({each.collection for each in every})
        numbers = [str(each.number) for each in every if collection in (each.collection, each.source_id)]
        what = f"collection {collection}" if number is None else f"generation {number} of collection {collection}"
        hint = f"It has: {', '.join(held[:20]) or 'none'}." if not numbers else f"Of this collection it has: {', '.join(numbers[:20])}."
        raise ChromaError("not_found", f"There is no {what} in table {postgres.schema}.{postgres.table}.", hint)
    return found


def _described(generation: Generation) -> DatasetCollection:
    return DatasetCollection(
        id=generation.source_id,
        name=generation.collection,
        tenant=generation.tenant,
        database=generation.database,
        dimension=generation.dimension,
        space=generation.space,
        metadata=generation.metadata,
        configuration=generation.configuration,
        schema=generation.schema,
        records=generation.records,
        columns=generation.columns,
        layout="json" if any(each.type == "json" for each in generation.columns) else "columns",
        parts=(),
        embedding_function=generation.embedding_function,
    )
