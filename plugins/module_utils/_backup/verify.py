# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving a data directory that came back from the repository: read, opened by Chroma, asked. FOR INTERNAL COLLECTION USE ONLY.

Three looks that know nothing of each other have to agree: the manifest, which was written when the data were kept; the reader of this
collection, which uses nothing of Chroma's; and Chroma itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.queries import sample_offsets, unreached
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import running
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import wal
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import DataDirectory, open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import StoredCollection
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.pending import read_pending
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.rows import Columns, Rows, rows_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import columns_of
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.verify import differences, stored
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import SEVERE
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import BackupCollection, BackupManifest
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Ids in one answer; they alone are asked for.
_PAGE = 5000
# Seconds for one answer: the first question makes Chroma load an index, or migrate.
_TIMEOUT = 600.0
# Codes of a server that lives and does not answer.
_STUMBLES = ("server_error", "unreachable")


@dataclass(frozen=True)
class Proof:
    """What was proven.

    Args:
        collections, records: that were compared with the manifest and with Chroma.
        queries: neighbours that were asked for; ``missed``: of those, not found by their own vector.
        minor: findings that are none of the backup's: what they name is so in the original too.
        seconds: that it took.
        opened: whether Chroma itself opened it and was asked.
    """

    collections: int = 0
    records: int = 0
    queries: int = 0
    missed: int = 0
    minor: tuple[str, ...] = ()
    seconds: float = 0.0
    opened: bool = False

    def as_result(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**vars(self), "minor": list(self.minor), "seconds": round(self.seconds, 3)}

    def warnings(self) -> list[str]:
        """Return what is to be said of it."""
        if not self.missed:
            return []
        what = f"{self.missed} of {self.queries} records that were asked for are not found by their own vector"
        return [f"{what}: they are there, and the index does not lead to them, most likely in the original neither."]


@dataclass(frozen=True)
class _Seen:
    """What the reader saw of a collection: how many ids, their fingerprint, and some whole records."""

    about: BackupCollection
    count: int
    fingerprint: int
    sample: Rows | None


def verify_directory(data: Path, manifest: BackupManifest, scratch: Path) -> Proof:
    """Prove a data directory that was restored to scratch.

    Args:
        data: it is opened by Chroma, and may be another afterwards.
        manifest: what it has to be.
        scratch: for the log of Chroma, and a copy of SQLite's file where a transaction has to be rolled back.

    Raises:
        ChromaError: ``not_verified``, which names object and reason; ``chroma_failed``; ``missing_library``.
    """
    began = time.monotonic()
    report = validate(data, live=False, scratch=scratch)
    _check_report(report, manifest)
    with open_directory(data, scratch) as directory:
        seen = _read(directory, manifest)
    asked, missed = _ask_chroma(data, manifest, seen, scratch)
    minor = sorted({each.kind.id for each in report.of_data})
    return Proof(len(seen), sum(each.count for each in seen), asked, missed, tuple(minor), time.monotonic() - began, True)


def _ask_chroma(data: Path, manifest: BackupManifest, seen: Sequence[_Seen], scratch: Path, again: bool = True) -> tuple[int, int]:
    """Open a directory with Chroma and compare what that says; return how many records were asked for, and not found.

    Args:
        again: open it once more where the server fails. Chroma 1.5 may stumble over what it has just migrated from 0.4: its compactor
            ends, and until the next start it answers with an error, or closes the connection. What is damaged fails again.
    """
    asked = missed = 0
    try:
        with running(data, scratch / "chroma.log") as url, Progress("verify", total=manifest.records) as progress:
            # Or it drops the first request, which may be sent again.
            server = ChromaClient(Connection(url, timeout=_TIMEOUT, retries=1))
            found = _check_catalogue(server, manifest)
            for each in seen:
                client, collection = found[each.about.id]
                _check_ids(client, collection, each, manifest, progress.advance)
                asked_now, missed_now = _check_sample(client, collection, each, manifest)
                asked, missed = asked + asked_now, missed + missed_now
    except ChromaError as error:
        if error.code not in _STUMBLES or not again:
            raise
        return _ask_chroma(data, manifest, seen, scratch, again=False)
    return asked, missed


def not_verified(manifest: BackupManifest, what: str, why: str, hint: str = "") -> ChromaError:
    """Return the error for a backup that is not what it has to be.

    Args:
        what: the object: a file, a collection.
        why: what was expected, and what is there.
    """
    return ChromaError(
        "not_verified",
        f"Backup {manifest.id} is not what was kept: {what}: {why}.",
        hint or "Look at the storage that the repository is on, and validate the data directory (data.validate).",
        {"object": what, "reason": why},
    )


def _check_report(report: Report, manifest: BackupManifest) -> None:
    severe = [each for each in report.of_data if each.kind.severity == SEVERE]
    if severe:
        first = severe[0]
        where = first.collection or "the directory"
        hint = "If data.validate finds the same in the data directory, mend that first: what is damaged there is damaged in its backup."
        more = f", and {len(severe) - 1} more" if len(severe) > 1 else ""
        raise not_verified(manifest, where, f"{first.kind.id} {first.kind.title}: {first.message.rstrip('.')}{more}", hint)
    if report.skipped or report.unconfirmed:
        raise not_verified(manifest, "the directory", f"not all could be looked at: {'; '.join([*report.skipped, *report.unconfirmed])}")


def _read(directory: DataDirectory, manifest: BackupManifest) -> list[_Seen]:
    """Read what the directory holds, and hold it against the manifest."""
    there = {each.id: each for each in directory.collections()}
    if strangers := sorted({each.name for each in there.values() if each.id not in {about.id for about in manifest.collections}}):
        raise not_verified(manifest, f"collection {strangers[0]}", "it is in the directory and not in the manifest")
    if list(directory.tenants) != list(manifest.tenants) or list(directory.databases) != list(manifest.databases):
        raise not_verified(manifest, "tenants and databases", "they are not those of the manifest")
    seen = []
    for about in manifest.collections:
        found = there.get(about.id)
        if found is None:
            raise not_verified(manifest, f"collection {about.label}", f"the directory has none with its id {about.id}")
        label = f"{found.tenant}/{found.database}/{found.name}"
        facts = (label, found.dimension, found.space, found.metadata, found.configuration, found.schema)
        wanted = (about.label, about.dimension, about.space, about.metadata, about.configuration, about.schema)
        if facts != wanted:
            raise not_verified(manifest, f"collection {about.label}", "its name, dimension, metadata or configuration is another")
        count, fingerprint = _ids(directory, found)
        if count != about.count:
            raise not_verified(manifest, f"collection {about.label}", f"{about.count} records were kept, and {count} came back")
        seen.append(_Seen(about, count, fingerprint, _sample(directory, found, count)))
    return seen


def _ids(directory: DataDirectory, collection: StoredCollection) -> tuple[int, int]:
    """Return how many ids a collection has, and their fingerprint."""
    pending = read_pending(directory.database, collection, wal.positions(directory.database))
    segment = collection.metadata_segment.id if collection.metadata_segment else ""
    replaced = set(pending.replaced)
    count, fingerprint = len(pending.records), _fingerprint(pending.records)
    sql = "SELECT embedding_id FROM embeddings WHERE segment_id = ?"
    for batch in directory.database.arrow(sql, (segment,), (pa.string(),)):
        names = [name for name in batch.column(0).to_pylist() if name not in replaced]
        count, fingerprint = count + len(names), fingerprint + _fingerprint(names)
    return count, fingerprint % _FINGERPRINTS


_FINGERPRINTS = 1 << 64


def _fingerprint(names: Iterable[str]) -> int:
    """Return a number that does not depend on the order of some ids, and can be added: they need not be kept, however many they are.

    Python's hash of a text has 64 bits and is keyed anew in each process.
    """
    return sum(map(hash, names)) % _FINGERPRINTS


def _sample(directory: DataDirectory, collection: StoredCollection, count: int) -> Rows | None:
    """Return some records, evenly spread over a collection; None where it has none."""
    if not count:
        return None
    schema = directory.schema(collection)
    columns = columns_of(schema)
    metadata = {each.name: each.key for each in columns if each.type not in ("json", "nulls")}
    whole = next((each.name for each in columns if each.type == "json"), "")
    batches = [next(directory.batches(collection, 1, start)).slice(0, 1) for start in sample_offsets(count)]
    table = pa.Table.from_batches(batches).combine_chunks()
    return rows_of(table.to_batches()[0], Columns(metadata=metadata, json=whole))


def _check_catalogue(server: ChromaClient, manifest: BackupManifest) -> Mapping[str, tuple[ChromaClient, Collection]]:
    """Return Chroma's collections by id, when they are those of the manifest."""
    found: dict[str, tuple[ChromaClient, Collection]] = {}
    for tenant, database in manifest.databases:
        client = server.within(tenant=tenant, database=database)
        found |= {each.id: (client, each) for each in client.list_collections()}
    wanted = {(each.id, each.label) for each in manifest.collections}
    served = {(name, f"{each.tenant}/{each.database}/{each.name}") for name, (_client, each) in found.items()}
    if wanted != served:
        first = sorted(label for _name, label in wanted ^ served)[0]
        where = "Chroma does not serve it" if first in {label for _name, label in wanted} else "Chroma serves it, and it was not kept"
        raise not_verified(manifest, f"collection {first}", where)
    return found


def _check_ids(client: ChromaClient, collection: Collection, seen: _Seen, manifest: BackupManifest, advance: Callable[[int], None]) -> None:
    count = client.count(collection)
    fingerprint = read = 0
    while read < count:
        names = client.page(collection, (), _PAGE, read)["ids"]
        if not names:
            break
        read, fingerprint = read + len(names), fingerprint + _fingerprint(names)
        advance(len(names))
    if count != seen.count or read != seen.count:
        raise not_verified(
            manifest, f"collection {seen.about.label}", f"{seen.count} records were kept, and Chroma serves {min(count, read)}"
        )
    if fingerprint % _FINGERPRINTS != seen.fingerprint:
        raise not_verified(manifest, f"collection {seen.about.label}", "Chroma serves other ids than those that were kept")


def _check_sample(client: ChromaClient, collection: Collection, seen: _Seen, manifest: BackupManifest) -> tuple[int, int]:
    """Compare the sample with what Chroma has, and ask for the neighbours of each; return how many were asked for and not found."""
    if seen.sample is None:
        return 0, 0
    label = f"collection {seen.about.label}"
    # Its data are its own here, so even a 1.x has each float as it is stored.
    if different := differences(seen.sample, stored(client, collection, seen.sample), seen.about.space, True):
        first = different[0]
        raise not_verified(manifest, label, f"Chroma serves record {first.id!r} with another {' and '.join(first.parts)} than was kept")
    return len(seen.sample), ask(client, collection, seen.sample.ids, seen.sample.vectors, seen.about, manifest)


def ask(
    client: ChromaClient, collection: Collection, ids: Sequence[str], vectors: Any, about: BackupCollection, manifest: BackupManifest
) -> int:
    """Ask for records by their own vectors; return how many are not found.

    Args:
        ids: of the records.
        vectors: theirs, ``(n, dimension)`` float32.
        about: their collection.

    Raises:
        ChromaError: ``not_verified`` where none is found.
    """
    missed = unreached(client, collection, ids, vectors, about.space, about.count)
    if ids and len(missed) == len(ids):
        what = f"none of {len(ids)} records is found by its own vector, the first is {missed[0]!r}"
        raise not_verified(manifest, f"collection {about.label}", what)
    return len(missed)
