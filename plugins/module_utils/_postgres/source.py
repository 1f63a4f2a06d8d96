# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL as a source of records, for whoever recovers. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import newest_intact, require_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.connection import connected
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.generations import Generation, find_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.making import reading
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.reading import read_batches
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.schema import read_layout
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import PostgresSettings


def current_generation(settings: PostgresSettings, collection: str, tenant: str = "", database: str = "") -> Generation | None:
    """Return what PostgreSQL holds of a collection: its current generation, or the newest one before it that is not damaged.

    Args:
        collection: its name, or its id at the source.
        tenant, database: that it comes from; empty for any.

    Returns:
        None where there is none, or none that is whole.

    Raises:
        ChromaError: see :func:`connection.connected` and :func:`generations.find_generation`.
    """
    with connected(settings) as postgres, postgres.attempting("Could not read the generations"):
        found = find_generation(postgres, collection, None, tenant, database)
        try:
            return found and newest_intact(postgres, read_layout(postgres), found)[0]
        except ChromaError as error:
            if error.code != "damaged_generation":
                raise
            return None


def generation_batches(settings: PostgresSettings, collection: str, tenant: str = "", database: str = "") -> Iterator[Any]:
    """Yield the records of the generation that :func:`current_generation` returns, in constant memory.

    Args:
        collection: its name, or its id at the source.
        tenant, database: that it comes from; empty for any.

    Yields:
        ``pa.RecordBatch`` of ``Generation.arrow_schema``, which is ``_dataset.schema``'s.

    Raises:
        ChromaError: ``not_found``; ``damaged_generation`` where none is whole, or at the end, where it was changed meanwhile.
    """
    with connected(settings) as postgres, postgres.attempting("Could not read the generation"):
        layout = read_layout(postgres)
        wanted = require_generation(postgres, collection, None, tenant, database)
        generation, _damaged = newest_intact(postgres, layout, wanted)
        with reading(postgres, generation):
            yield from read_batches(postgres, layout, generation)
