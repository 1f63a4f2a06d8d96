# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving the tree of a backup that came back from the repository, by its kind. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import time
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import np
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.queries import sample_offsets
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.tags import Backup, schema_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.verify import Proof, ask, not_verified, verify_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._chroma_process import running
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.reading import open_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.changes import open_increment
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.ranges import size
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import (
    COLLECTION,
    DATA,
    DATASET,
    INCREMENT,
    MANIFEST,
    BackupManifest,
    encode_manifest,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

# Records of a collection's backup up to which it is brought into a Chroma each time: that takes a second for about 1,300 (measured).
# Of a larger one each record is read and compared with its checksum; the drill brings it in, however large it is.
MOST_IMPORTED = 20_000


def prove(
    tree: Path, manifest: BackupManifest, scratch: Path, whole: bool = False, parent: Backup | None = None, most_opened: int = MOST_IMPORTED
) -> Proof:
    """Prove a tree.

    A full backup, and a collection of at most ``most_opened`` records, is opened by Chroma and asked; an increment is read, and held
    against its parent: what it makes of that is for the drill and the restore to prove.

    Args:
        tree: as it came from the repository; a data directory in it is opened by Chroma.
        manifest: that the backup was made with.
        scratch: for logs and temporary data.
        whole: bring a collection into Chroma, however large it is.
        parent: what an increment follows on; None where it is not in the repository.
        most_opened: records of a collection up to which it is brought into Chroma.

    Raises:
        ChromaError: ``not_verified``, which names object and reason; ``chroma_failed``; ``missing_library``; ``no_space``.
    """
    _check_manifest(tree, manifest)
    if manifest.damaged:
        return Proof()  # the raw copy of a directory that nothing can read; its bytes are restic's to compare
    if manifest.kind == INCREMENT:
        return _prove_increment(tree, manifest, parent)
    if manifest.kind == COLLECTION:
        return _prove_collection(tree, manifest, scratch, whole or manifest.records <= most_opened)
    return verify_directory(tree / DATA, manifest, scratch)


def _check_manifest(tree: Path, manifest: BackupManifest) -> None:
    try:
        content = (tree / MANIFEST).read_bytes()
    except OSError as error:
        raise not_verified(manifest, MANIFEST, f"it can't be read: {error.strerror}") from error
    if content != encode_manifest(manifest):
        raise not_verified(manifest, MANIFEST, "its content is another")


def _prove_increment(tree: Path, manifest: BackupManifest, parent: Backup | None) -> Proof:
    """Read each part: its checksum, and each record; and hold counts and positions against the manifest and the parent."""
    began = time.monotonic()
    check_parent(manifest, parent)
    records = 0
    try:
        increment = open_increment(tree)
        for each in manifest.collections:
            living = increment.alive.collections[each.id]
            # What was only in the log had no row yet.
            if living.count != each.count or size(living.alive) > each.count:
                what = f"{each.count} records were kept, and {living.count} live on in {size(living.alive)} rows by its anchors"
                raise not_verified(manifest, f"collection {each.label}", what)
        increment.check_parts()
        with Progress("verify", total=sum(each.records for each in increment.changes.collections)) as progress:
            for changed in increment.changes.collections:
                read = 0
                for batch in increment.batches(changed.id):
                    read += batch.num_rows
                    progress.advance(batch.num_rows)
                if read != changed.records:
                    what = f"{changed.records} changed records were kept, and {read} came back"
                    raise not_verified(manifest, f"collection {changed.id}", what)
                records += read
    except ChromaError as error:
        raise _told(manifest, error) from error
    return Proof(len(manifest.collections), records, seconds=time.monotonic() - began)


def check_parent(manifest: BackupManifest, parent: Backup | None) -> None:
    """Refuse an increment that does not follow on what the repository has as its parent.

    Raises:
        ChromaError: ``broken_chain``.
    """
    if parent is None:
        why = f"Increment {manifest.id} follows on {manifest.parent}, which is not in the repository any more."
    elif (parent.id, parent.base or parent.id) != (manifest.parent, manifest.base):
        why = f"Increment {manifest.id} follows on {manifest.parent} of the base {manifest.base}, and not on {parent.id}."
    elif parent.position > manifest.position or parent.schema != schema_of(manifest.migrations):
        why = f"Increment {manifest.id} begins before its parent {parent.id} ends, or is of another schema."
    else:
        return
    raise ChromaError("broken_chain", why, "Make a full backup: a new chain begins with it.", {"object": manifest.parent})


def _prove_collection(tree: Path, manifest: BackupManifest, scratch: Path, opened: bool) -> Proof:
    began = time.monotonic()
    store = open_store(str(tree / DATASET))
    [about] = manifest.collections
    try:
        dataset = open_dataset(store)
        [source] = dataset.sources
        found = source.collection
        if (found.id, found.name, found.records) != (about.id, about.name, about.count):
            raise not_verified(manifest, f"collection {about.label}", "the dataset holds another collection, or another number of records")
        with Progress("verify", total=about.count) as progress:
            dataset.check(source, True, progress.advance)
        asked = missed = 0
        if opened:
            asked, missed = _import(store, manifest, scratch)
    except ChromaError as error:
        raise _told(manifest, error) from error
    return Proof(1, about.count, asked, missed, seconds=time.monotonic() - began, opened=opened)


def _import(store: Store, manifest: BackupManifest, scratch: Path) -> tuple[int, int]:
    """Bring a collection into a Chroma, compare each record, and ask for some; return how many were asked for and not found."""
    [about] = manifest.collections
    with running(scratch / "imported", scratch / "chroma.log") as url:
        client = ChromaClient(Connection(url, timeout=300.0))
        import_dataset(store, client, ImportRequest(verify=True))
        collection = client.require_collection(about.name)
        pages = [client.page(collection, ["embeddings"], 1, offset) for offset in sample_offsets(about.count)]
        ids = [name for page in pages for name in page["ids"]]
        vectors = np.array([vector for page in pages for vector in page["embeddings"]], np.float32)
        return len(ids), ask(client, collection, ids, vectors, about, manifest)


def _told(manifest: BackupManifest, error: ChromaError) -> ChromaError:
    """Return what a reader found as the verification says it; what says nothing about the backup stays as it is."""
    if error.code in ("broken_chain", "not_verified", "chroma_failed", "missing_library", "no_space"):
        return error
    return not_verified(manifest, str(error.result.get("path") or manifest.kind), error.message.rstrip("."), error.hint)
