# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/export.md does what it says: others open a dataset as written there, and find the records."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import exporting
import pytest
import servers

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
YEARS = {f"book-{n}": 1900 + n for n in range(0, 100, 4)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("documented")
    with servers.running(servers.VERSIONS[-1], data=base / "data") as server:
        client = exporting.connect(server.url)
        records = [
            {"id": name, "embedding": [1.0, year / 2000, 0.5], "document": f"of {year}", "metadata": {"year": year}, "uri": None}
            for name, year in YEARS.items()
        ]
        exporting.upsert(client, client.create_collection("books"), records)
    exporting.run({"path": str(base / "data"), "destination": str(base / "set")})
    return base / "set"


def program(heading: str, dataset: Path) -> str:
    """Run the Python block below a heading of the page, and return what it prints."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    code = re.search(r"```python syntax\n(.*?)```", section, re.DOTALL)
    assert code
    assert '"/exports/chroma"' in code[1]
    source = code[1].replace('"/exports/chroma"', repr(str(dataset)))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_duckdb_opens_it(dataset):
    printed = program("DuckDB", dataset)
    assert "of 1952" in printed
    assert "of 1948" not in printed
    assert "int64" in printed
    assert len(re.findall(r"book-\d+ *│ +\d\.\d+", printed)) == 3


def test_pandas_opens_it(dataset):
    printed = program("pandas", dataset)
    assert f"({len(YEARS)}, 3) float32" in printed
    assert "1952" in printed
