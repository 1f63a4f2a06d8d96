# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove the index of one collection and tear that of another, in the server's container: damage.py DATA REMOVED TORN."""

import shutil
import sqlite3
import sys
from pathlib import Path

data, removed, torn = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
FOLDERS = "SELECT c.name, s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE s.scope = 'VECTOR'"
folders = dict(sqlite3.connect(f"file:{data}/chroma.sqlite3?mode=ro", uri=True).execute(FOLDERS))
shutil.rmtree(data / folders[removed])
(data / folders[torn] / "header.bin").write_bytes(b"")
