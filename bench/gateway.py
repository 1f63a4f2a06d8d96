# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gateway costs: the same requests to one server, directly and through it, in turn.

Prints ``ratio`` lines; both figures of a line come from the same run. Usage: ``python bench/gateway.py [VERSION]``.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "playbooks" / "collections"))

from ansible_collections.thinkube.chroma.tests.integration import gateway_process, servers

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
BATCHES, ROWS, DIMENSION = 10, 500, 384
QUERIES = 300


class Way:
    """A kept connection to the server, straight or through the gateway."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def post(self, path: str, body: bytes) -> Any:
        """Send one authenticated request and return the decoded answer."""
        self.connection.request("POST", path, body, {"Content-Type": "application/json", "X-Chroma-Token": gateway_process.ADMIN})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"POST {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)


def in_turn(ways: tuple[Way, Way], rounds: int, act: Callable[[Way], object]) -> tuple[list[float], list[float]]:
    """Time ``act`` both ways, ``rounds`` times, each second pair in reverse order; return seconds direct and through."""
    taken: tuple[list[float], list[float]] = ([], [])
    for n in range(rounds):
        for side in (0, 1) if n % 2 == 0 else (1, 0):
            began = time.perf_counter()
            act(ways[side])
            taken[side].append(time.perf_counter() - began)
    return taken


def main() -> None:
    """Run both comparisons."""
    version = sys.argv[1] if len(sys.argv) > 1 else "1.5.9"
    generator = random.Random(3)

    def vector() -> list[float]:
        return [generator.random() for _row in range(DIMENSION)]

    bodies = (
        json.dumps({"ids": [f"{n}-{row}" for row in range(ROWS)], "embeddings": [vector() for _row in range(ROWS)]}).encode()
        for n in range(2 * BATCHES + 2)
    )
    prepared = iter(list(bodies))
    queries = [json.dumps({"query_embeddings": [vector()], "n_results": 10}).encode() for _row in range(50)]

    with servers.running(version) as server:
        port = int(server.url.rpartition(":")[2])
        with gateway_process.running(port) as gateway:
            ways = (Way(port), Way(gateway.port))
            path = f"{COLLECTIONS}/{ways[0].post(COLLECTIONS, json.dumps({'name': 'bench'}).encode())['id']}"
            for way in ways:
                way.post(f"{path}/upsert", next(prepared))  # warms both up
            direct, through = in_turn(ways, BATCHES, lambda way: way.post(f"{path}/upsert", next(prepared)))
            speed = [BATCHES * ROWS / sum(taken) for taken in (direct, through)]
            print(
                f"ratio upsert-throughput gateway/direct = {speed[1] / speed[0]:.3f} (at least 0.90 wanted; {speed[1]:.0f} / {speed[0]:.0f}"
                f" vectors/s, {BATCHES} batches of {ROWS} x {DIMENSION}, Chroma {version})"
            )
            direct, through = in_turn(ways, QUERIES, lambda way: way.post(f"{path}/query", generator.choice(queries)))
            fast, slow = (statistics.median(taken) * 1000 for taken in (direct, through))
            print(
                f"ratio query-median gateway/direct = {slow / fast:.3f} (at most 1 ms more wanted: {slow - fast:+.2f} ms;"
                f" {slow:.2f} / {fast:.2f} ms, {QUERIES} queries of 10 neighbours)"
            )


if __name__ == "__main__":
    main()
