# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change what molecule/operations/fill.py wrote: write.py HOSTNAME change|lose|lose-more, with CHROMA_AUTH_TOKEN."""

import os
import sys

import chromadb
import numpy as np

server = chromadb.HttpClient(host=sys.argv[1], port=443, ssl=True, headers={"X-Chroma-Token": os.environ["CHROMA_AUTH_TOKEN"]})
vectors = np.random.default_rng(7).standard_normal((15, 32), dtype=np.float32)


def add(first: int, last: int) -> None:
    """Write records into the collection that was empty."""
    numbers = range(first, last)
    server.get_collection("nothing").add(ids=[f"late-{number}" for number in numbers], embeddings=vectors[first:last])


match sys.argv[2]:
    case "change":
        add(0, 10)
        server.get_collection("fruit").delete(ids=[f"fruit-{number}" for number in range(10, 20)])
        server.get_collection("colours").update(ids=["colours-20"], metadatas=[{"number": -1}])
    case "lose":
        add(10, 15)
        server.delete_collection("colours")
    case "lose-more":
        server.delete_collection("fruit")
