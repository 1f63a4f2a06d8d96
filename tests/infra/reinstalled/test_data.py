# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a reinstallation: what was written before the rollback is there."""

from __future__ import annotations

import json

from ..conftest import TOKEN, Release

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def test_the_records_that_were_written_before_the_rollback_are_found(release: Release) -> None:
    status, body = release.curl(release.url(f"{COLLECTIONS}/kept"), token=TOKEN)
    assert status == 200
    collection = json.loads(body)
    assert collection["metadata"]["written_by"] == "molecule"
    question = json.dumps({"query_embeddings": [[0.9, 0.1]], "n_results": 2, "include": ["documents", "metadatas"]})
    status, body = release.curl(
        release.url(f"{COLLECTIONS}/{collection['id']}/query"), "-H", "Content-Type: application/json", "-d", question, token=TOKEN
    )
    assert status == 200
    answer = json.loads(body)
    assert (answer["ids"], answer["documents"]) == ([["east", "north"]], [["east", "north"]])
    assert answer["metadatas"] == [[{"degrees": 90}, {"degrees": 0}]]
