# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a collection another name. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.flight import Patience
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


def label_of(collection: Collection) -> str:
    """Return ``tenant/database/name`` of a collection."""
    return f"{collection.tenant}/{collection.database}/{collection.name}"


def is_called(client: ChromaClient, name: str, collection: str) -> bool:
    """Return whether a name is that of the collection of this id."""
    found = client.get_collection(name)
    return found is not None and found.id == collection


def give_name(client: ChromaClient, collection: Collection, name: str, wait: float) -> None:
    """Give a collection another name, also where only the server's answer to that is lost.

    Args:
        name: that no other collection has.
        wait: seconds that the server may be away after it did not answer.

    Raises:
        ChromaError: what the server answers.
    """
    try:
        client.update_collection(collection, name=name)
    except ChromaError:
        # Where the server does not come back, what failed first is what the user has to know.
        with contextlib.suppress(ChromaError):
            if Patience(wait)(lambda: is_called(client, name, collection.id)):
                return
        raise
