# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write collections with every kind of value through Chroma's own client: fill.py HOSTNAME, with CHROMA_AUTH_TOKEN."""

import os
import sys
from typing import Any

import chromadb
import numpy as np

RECORDS, DIMENSION = 3000, 32


def metadata(number: int) -> dict[str, Any]:
    """Return metadata of every type; which keys are there differs from record to record."""
    values: dict[str, Any] = {"number": number, "ratio": number / 7, "even": number % 2 == 0, "name": f"Straße {number} 北"}
    if number % 5 == 0:
        values |= {"largest": 2**63 - 1, "empty": "", "tags": ["a", f"b{number}"]}
    if number % 3 == 0:
        values["mixed"] = number if number % 2 else str(number)
    return values


def fill(client: Any, name: str, space: str) -> None:
    """Write one collection."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((RECORDS, DIMENSION), dtype=np.float32)
    # A search that looks at every record: two indexes of the same vectors are two graphs, and now and then one misses a neighbour.
    hnsw = {"space": space, "ef_search": RECORDS}
    collection = client.create_collection(name, metadata={"made_by": "molecule"}, configuration={"hnsw": hnsw})
    for begin in range(0, RECORDS, 1000):
        numbers = range(begin, begin + 1000)
        collection.add(
            ids=[f"{name}-{number}" for number in numbers],
            embeddings=vectors[begin : begin + 1000],
            documents=[f"document {number}" if number % 7 else "" for number in numbers],
            metadatas=[metadata(number) for number in numbers],
            uris=[f"file:///{number}" for number in numbers],
        )
    # The log and the index disagree on these until the next persist.
    collection.delete(ids=[f"{name}-{number}" for number in range(10)])


server = chromadb.HttpClient(host=sys.argv[1], port=443, ssl=True, headers={"X-Chroma-Token": os.environ["CHROMA_AUTH_TOKEN"]})
fill(server, "fruit", "l2")
fill(server, "colours", "cosine")
server.create_collection("nothing")
