# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of one collection by the API, where nobody reaches its directory. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.catalogue import catalogue_of
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.opening import existing
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.order import Order
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.outcome import outcome, planned
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.plan import BackupPlan
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.run import Making
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import make_collection_by_api
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import Gone
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.unreadable import unreadable
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import COLLECTION, BackupManifest, new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room


def backup_by_api(order: Order, settings: RepositorySettings, gone: Gone, check: bool) -> dict[str, Any]:
    """Back up one collection; see :func:`operation.backup`."""
    if order.client is None:
        raise AssertionError("the module asks for path or url")
    client = order.client
    client.require_collection(order.collection)
    plan = BackupPlan(COLLECTION, f"Collection {order.collection} was asked for; its records are of no single moment.")
    if check:
        existing(settings, gone)
        return outcome(True, planned(plan), plan)
    repository = open_repository(settings, create=True, gone=gone)
    name = new_id()
    with temporary_room("backup", order.scratch) as room:

        def make(tree: Path) -> BackupManifest:
            return make_collection_by_api(client, order.collection, name, tree, order.release)

        catalogue = catalogue_of(repository.snapshots())
        making = Making(name, repository, catalogue, room, make, lambda *_words, **_facts: None, verify=order.verify, times=order.times)
        made = making.run()
    return outcome(True, made.result, plan, tuple(filter(None, [unreadable(repository)])), made.proof, repository.created)
