# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a collection and delete it, of which Chroma 1.x leaves the folder: leave.py HOSTNAME, with CHROMA_AUTH_TOKEN."""

import os
import sys

import chromadb
import numpy as np

server = chromadb.HttpClient(host=sys.argv[1], port=443, ssl=True, headers={"X-Chroma-Token": os.environ["CHROMA_AUTH_TOKEN"]})
vectors = np.random.default_rng(6).standard_normal((1200, 32), dtype=np.float32)
# A folder is there once the index was saved, by default after a thousand records.
server.create_collection("gone").add(ids=[str(number) for number in range(1200)], embeddings=vectors)
server.delete_collection("gone")
