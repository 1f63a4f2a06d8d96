# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections of a data directory or a server as a dataset. FOR INTERNAL COLLECTION USE ONLY.

``plan_export`` decides from what there is; ``apply_export`` writes part after part, each of them noted when it is durable, and makes the
dataset appear when all is there. What was interrupted goes on with the parts that are finished.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.destination import Destination, State, state_key
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import (
    GENERATOR,
    MANIFEST,
    DatasetCollection,
    Manifest,
    Origin,
    Part,
    encode_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import Source, SourceCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, check_sizes
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.vdf import VDF_META
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.vdf_meta import encode_vdf
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.writer import PART_BYTES, PART_RECORDS, PartWriter, overlapped
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress


@dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Args:
        collections: names; None means all.
        overwrite: whether a dataset that is there is replaced.
        allow_missing_vectors: whether records without a vector are exported.
        part_records, part_bytes: where a part ends.
    """

    collections: Sequence[str] | None = None
    overwrite: bool = False
    allow_missing_vectors: bool = False
    part_records: int = PART_RECORDS
    part_bytes: int = PART_BYTES


@dataclass(frozen=True)
class ExportPlan:
    """What an export does.

    Args:
        changed: whether there is anything to do.
        collections: to export.
        replaces: the dataset that is replaced; None where there is none.
        dataset: the one that is there already and holds just this; None where there is none.
    """

    changed: bool
    collections: tuple[SourceCollection, ...]
    replaces: Manifest | None = None
    dataset: Manifest | None = None


def export(source: Source, store: Store, wanted: Wanted, check: bool = False) -> dict[str, Any]:
    """Export collections.

    Args:
        source: where they are.
        store: where the dataset shall be.
        wanted: which collections, and how.
        check: return the plan and write nothing.

    Returns:
        ``changed``, ``dataset``, ``collections`` [{``name``, ``records``, ``bytes``}], ``resumed_parts``.

    Raises:
        ChromaError: ``not_found``, ``exists``, ``not_empty``, ``busy``, ``missing_vectors``, ``directory_changed``,
            ``collection_changed``; what reader, server and store report.
    """
    _check_places(source, store)
    destination = Destination(store)
    collections = source.select(wanted.collections)
    plan = _planned(source, destination, collections, wanted)
    resumed, manifest = 0, plan.dataset
    if not check:
        with destination.held():
            # Another export may have finished since.
            plan = _planned(source, destination, collections, wanted)
            if plan.dataset:
                destination.tidy(plan.dataset, _key(source, collections))
            else:
                manifest, resumed = apply_export(source, destination, plan, wanted)
    sizes = {each.id: each.bytes for each in manifest.collections} if manifest else {}
    exported = [{"name": each.name, "records": each.records, "bytes": sizes.get(each.id)} for each in collections]
    return {"changed": plan.changed, "dataset": store.location, "collections": exported, "resumed_parts": resumed}


def plan_export(
    source: Source, existing: Manifest | None, collections: tuple[SourceCollection, ...], wanted: Wanted, location: str
) -> ExportPlan:
    """Decide what to do.

    Args:
        existing: the dataset at the destination.
        collections: that were found and are wanted.
        location: of the destination, for messages.

    Raises:
        ChromaError: ``exists``.
    """
    if existing is None:
        return ExportPlan(True, collections)
    # A server has no fingerprint that covers vectors and documents: of it nothing can be called the same.
    if source.kind == existing.source.kind == "directory" and existing.source.fingerprint == state_key(source.fingerprint(collections)):
        exported = {each.id: each for each in existing.collections}
        whole = wanted.allow_missing_vectors or not any(part.missing_vectors for each in existing.collections for part in each.parts)
        if set(exported) == {each.id for each in collections} and whole:
            return ExportPlan(False, collections, dataset=existing)
    if wanted.overwrite:
        return ExportPlan(True, collections, replaces=existing)
    message = f"There is a dataset of {existing.created} at {location} already, of another source or state."
    raise ChromaError("exists", message, "Choose another destination, or set overwrite.")


def _planned(source: Source, destination: Destination, collections: tuple[SourceCollection, ...], wanted: Wanted) -> ExportPlan:
    """Return the plan; a dataset that is there already counts only while all its parts are there."""
    plan = plan_export(source, destination.existing(), collections, wanted, destination.final.location)
    if plan.dataset:
        try:
            check_sizes(destination.final, plan.dataset)
        except ChromaError as error:
            if error.code != "manifest_mismatch":
                raise
            if not wanted.overwrite:
                hint = "Set overwrite, which exports it again, or choose another destination."
                raise ChromaError(error.code, error.message, hint) from error
            return ExportPlan(True, collections, replaces=plan.dataset)
    return plan


def _key(source: Source, collections: Sequence[SourceCollection]) -> str:
    """Return the key of an export: equal where the same collections of the same state are exported."""
    return state_key([state_key(source.fingerprint(collections)), [each.id for each in collections]])


def apply_export(source: Source, destination: Destination, plan: ExportPlan, wanted: Wanted) -> tuple[Manifest, int]:
    """Write a dataset; the destination is held.

    Returns:
        The manifest, and how many parts an interrupted export had finished.
    """
    fingerprint = state_key(source.fingerprint(plan.collections))
    work = _Work(destination, destination.begin(_key(source, plan.collections), plan.replaces, source.lasts))
    resumed = sum(map(len, work.state.parts.values()))
    records = sum(each.records for each in plan.collections)
    with Progress("export", total=records, done=work.records()) as progress:
        exported = tuple(_export_collection(source, work, each, wanted, progress) for each in plan.collections)
    source.confirm(plan.collections)
    manifest = Manifest(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        generator=GENERATOR,
        source=Origin(source.kind, source.version, fingerprint),
        consistent=source.consistent,
        collections=exported,
    )
    # The manifest is the last one: it is what makes a dataset.
    destination.commit(manifest, {VDF_META: encode_vdf(manifest), MANIFEST: encode_manifest(manifest)}, work.state)
    return manifest, resumed


class _Work:
    """The state of a running export, kept where it can be found again."""

    def __init__(self, destination: Destination, state: State) -> None:
        self.destination = destination
        self.state = state

    def records(self) -> int:
        return sum(part.records for parts in self.state.parts.values() for part in parts)

    def note(self, collection: str, part: Part) -> None:
        self.state = self.state.with_part(collection, part)
        self.destination.save(self.state)


def _export_collection(source: Source, work: _Work, collection: SourceCollection, wanted: Wanted, progress: Progress) -> DatasetCollection:
    schema = source.schema(collection)
    finished = work.state.parts.get(collection.id, ())
    start = sum(part.records for part in finished)
    missing = sum(part.missing_vectors for part in finished)

    def name(number: int) -> str:
        return work.state.path(collection.id, number)

    def note(part: Part) -> None:
        work.note(collection.id, part)

    with PartWriter(work.destination.work, name, schema, finished, note, wanted.part_records, wanted.part_bytes) as writer:

        def write(batch: Any) -> None:
            writer.write(batch)
            progress.advance(batch.num_rows)

        def complete() -> Any:
            nonlocal missing
            for batch in source.batches(collection, start):
                missing += batch.column("vector").null_count
                if not missing or wanted.allow_missing_vectors:
                    yield batch  # otherwise the rest is only counted

        overlapped(complete(), write)
        if missing and not wanted.allow_missing_vectors:
            raise _lost(collection, missing)
        writer.finish()
    records = sum(part.records for part in writer.parts)
    if records != collection.records:
        message = f"{records} records of collection {collection.name} were read, and {collection.records} were counted before."
        raise ChromaError("collection_changed", message, "Run it again when nobody writes, or export a copy. Nothing was finished.")
    return _described(collection, schema, tuple(writer.parts), records)


def _described(collection: SourceCollection, schema: Any, parts: tuple[Part, ...], records: int) -> DatasetCollection:
    vector, columns = schema.field("vector").type, columns_of(schema)
    fields = {key: value for key, value in vars(collection).items() if key in DatasetCollection.__dataclass_fields__}
    described = {
        "dimension": getattr(vector, "list_size", None),
        "columns": columns,
        "layout": "json" if any(each.type == "json" for each in columns) else "columns",
        "parts": parts,
        "records": records,
    }
    return DatasetCollection(**{**fields, **described})


def _lost(collection: SourceCollection, missing: int) -> ChromaError:
    message = (
        f"{missing} of the {collection.records} records of collection {collection.name} have lost their vectors. Nothing was finished."
    )
    hint = (
        "Run the playbook thinkube.chroma.data.validate, which says why; with allow_missing_vectors they are exported with a null vector."
    )
    return ChromaError("missing_vectors", message, hint, {"missing_vectors": missing})


def _check_places(source: Source, store: Store) -> None:
    """Refuse to write into the data directory."""
    if not (source.path and store.local):
        return
    inside = source.path.resolve()
    target = type(inside)(store.root).resolve()
    if target == inside or inside in target.parents:
        message = f"The destination {store.location} lies in the data directory {source.path}."
        raise ChromaError("invalid_value", message, "Choose a place that Chroma does not use.")
