# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a directory that came back, where Chroma itself fails at it."""

from __future__ import annotations

import contextlib

import interference
import pytest
import servers
from chains import write

from ansible_collections.thinkube.chroma.plugins.module_utils._backup import verify
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.manifest import new_id
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.take import About, take
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a copy of a directory, with its manifest."""
    folder = tmp_path_factory.mktemp("verify")
    with servers.running(servers.VERSIONS[-1], data=folder / "data") as server:
        client = ChromaClient(Connection(server.url))
        books = client.create_collection("books", {}, {})
        write(client, books, "upsert", [f"id-{each}" for each in range(30)], embeddings=[[each, 1.0, 0.5] for each in range(30)])
    return folder / "tree", take(folder / "data", folder / "tree", About(new_id()), live=False)


# It can't be made to: now and then 1.5.9 fails so after it has migrated a directory from 0.4.
@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize(("answer", "code"), [(500, "server_error"), ("cut", "unreachable")])
def test_a_chroma_that_fails_is_started_once_more(tree, tmp_path, monkeypatch, answer, code, failing):
    starts, running = [], verify.running

    @contextlib.contextmanager
    def stumbling(data, log):
        starts.append(log)
        fails = len(starts) <= failing
        with (
            running(data, log) as url,
            interference.proxy(url, lambda _method, path, _n: answer if fails and path.endswith("/count") else None) as it,
        ):
            yield it.url

    monkeypatch.setattr(verify, "running", stumbling)
    data, manifest = tree[0] / "data", tree[1]
    if failing == 1:
        proof = verify.verify_directory(data, manifest, tmp_path)
        assert (proof.records, proof.queries, proof.opened) == (30, 20, True)
    else:
        with pytest.raises(ChromaError) as failure:
            verify.verify_directory(data, manifest, tmp_path)
        assert failure.value.code == code
    assert len(starts) == 2
