# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what real Chroma servers answer, for the unit tests: ``python tests/record_fixtures.py [VERSION…]``.

Each exchange becomes ``tests/unit/fixtures/<version>/<name>.json``: method, path, body, status and answer. Ids and clocks
are replaced by fixed ones, so that recording again changes nothing but what Chroma changed.
"""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
sys.path.insert(0, str(TESTS / "integration"))

import servers  # noqa: E402

BOOKS = "11111111-1111-4111-8111-111111111111"
TAKEN = "22222222-2222-4222-8222-222222222222"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
TOKEN = "recorded-token"

RECORDS = {
    "ids": ["a", "b"],
    "embeddings": [[1.0, 0.0, 0.1], [0.0, 1.0, 0.2]],
    "documents": ["first", None],
    "metadatas": [{"page": 1, "open": True, "score": 2.0}, None],
    "uris": ["file:///a", None],
}
EVERYTHING = ["embeddings", "documents", "metadatas", "uris"]


class Recorder:
    """Speaks to one server and writes down what it said.

    Args:
        server: the server.
        folder: where the recordings go.
    """

    def __init__(self, server: servers.Server, folder: Path) -> None:
        self.port = int(server.url.rsplit(":", 1)[1])
        self.folder = folder
        self.v1 = server.version.startswith("0.4.")
        self.legacy = server.version.startswith("0.")
        self.ids = {"collection_create": BOOKS, "taken_create": TAKEN}
        self.real: dict[str, str] = {}

    def record(self, name: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Send a request and keep the answer under a name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, _replaced(path, self.real), payload, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            seen = json.loads(text)
        except ValueError:
            seen = text
        if name in self.ids:
            self.real[self.ids[name]] = seen["id"]
        exchange = {"method": method, "path": path, "body": body, "status": answer.status, "answer": _settled(seen)}
        content = _replaced(json.dumps(exchange, indent=1, sort_keys=True), {real: fixed for fixed, real in self.real.items()})
        (self.folder / f"{name}.json").write_text(content + "\n")
        return seen

    def databases(self, name: str = "", tenant: str = "default_tenant") -> str:
        """Return the path of the databases of a tenant, or of one of them."""
        tail = f"/{name}" if name else ""
        return f"/api/v1/databases{tail}?tenant={tenant}" if self.v1 else f"/api/v2/tenants/{tenant}/databases{tail}"

    def collections(self, name: str = "", query: str = "") -> str:
        """Return the path of the collections of the default database, or of one of them."""
        tail = f"/{name}" if name else ""
        if self.v1:
            return f"/api/v1/collections{tail}?tenant=default_tenant&database=default_database" + (f"&{query}" if query else "")
        return f"{self.databases('default_database')}/collections{tail}" + (f"?{query}" if query else "")

    def data(self, action: str = "", identifier: str = BOOKS) -> str:
        """Return the path of a collection's data."""
        base = "/api/v1/collections" if self.v1 else self.collections()
        return f"{base}/{identifier}" + (f"/{action}" if action else "")


def record(to: Recorder) -> None:
    """Record all exchanges that need no token, in the order in which a user would make them."""
    api = "/api/v1" if to.v1 else "/api/v2"
    to.record("v2_version", "GET", "/api/v2/version")
    to.record("v1_version", "GET", "/api/v1/version")
    to.record("v1_collections", "GET", "/api/v1/collections")
    to.record("heartbeat", "GET", f"{api}/heartbeat")
    to.record("preflight", "GET", f"{api}/pre-flight-checks")

    to.record("tenant_missing", "GET", f"{api}/tenants/acme")
    to.record("tenant_create", "POST", f"{api}/tenants", {"name": "acme"})
    to.record("tenant_exists", "POST", f"{api}/tenants", {"name": "acme"})
    to.record("tenant_get", "GET", f"{api}/tenants/acme")
    to.record("database_missing", "GET", to.databases("docs", "acme"))
    to.record("database_create", "POST", to.databases(tenant="acme"), {"name": "docs"})
    to.record("database_exists", "POST", to.databases(tenant="acme"), {"name": "docs"})
    to.record("database_get", "GET", to.databases("docs", "acme"))
    count = "/api/v1/count_collections?tenant={}&database={}" if to.v1 else "/api/v2/tenants/{}/databases/{}/collections_count"
    to.record("database_count", "GET", count.format("acme", "docs"))
    to.record("database_delete", "DELETE", to.databases("docs", "acme"))
    to.record("database_gone", "GET", to.databases("docs", "acme"))

    to.record("access", "GET", to.collections(query="limit=1&offset=0"))
    to.record("collection_missing", "GET", to.collections("books"))
    body: dict[str, Any] = {"name": "books", "metadata": {"year": 2026, "hnsw:space": "cosine"}, "get_or_create": False}
    if not to.legacy:
        body = {**body, "metadata": {"year": 2026}, "configuration": {"hnsw": {"space": "cosine"}, "embedding_function": None}}
    to.record("collection_create", "POST", to.collections(), body)
    to.record("collection_exists", "POST", to.collections(), body)
    to.record("collection_get", "GET", to.collections("books"))
    to.record("name_refused", "POST", to.collections(), {"name": "a b"})

    to.record("records_none", "POST", to.data("get"), {"include": EVERYTHING, "ids": ["a", "b"]})
    to.record("upsert", "POST", to.data("upsert"), RECORDS)
    to.record("upsert_dimension", "POST", to.data("upsert"), {**RECORDS, "embeddings": [[1.0], [2.0]]})
    to.record("collection_filled", "GET", to.collections("books"))
    to.record("records", "POST", to.data("get"), {"include": EVERYTHING, "ids": ["a", "b"]})
    to.record("records_page", "POST", to.data("get"), {"include": EVERYTHING, "limit": 1000, "offset": 0})
    to.record("records_found", "POST", to.data("get"), {"include": ["documents", "metadatas", "uris"], "where": {"page": 1}})
    to.record("count", "GET", to.data("count"))
    parts = ["distances", "documents", "metadatas"]
    to.record("query", "POST", to.data("query"), {"query_embeddings": [[1.0, 0.0, 0.1]], "n_results": 2, "include": parts})
    to.record("query_dimension", "POST", to.data("query"), {"query_embeddings": [[1.0]], "n_results": 2})
    to.record("update", "POST", to.data("update"), {"ids": ["b"], "documents": ["second"], "metadatas": [{"page": 2}], "uris": [None]})
    to.record("records_updated", "POST", to.data("get"), {"include": EVERYTHING, "ids": ["a", "b"]})

    to.record("taken_create", "POST", to.collections(), {"name": "taken"})
    to.record("collections", "GET", to.collections(query="limit=1000&offset=0"))
    to.record("count_taken", "GET", to.data("count", TAKEN))
    to.record("collections_count", "GET", count.format("default_tenant", "default_database"))
    to.record("rename_taken", "PUT", to.data(), {"new_name": "taken"})
    to.record("metadata_replace", "PUT", to.data(), {"new_metadata": {"language": "en"}})
    to.record("collection_replaced", "GET", to.collections("books"))
    to.record("unknown_get", "POST", to.data("get", UNKNOWN), {})
    to.record("unknown_count", "GET", to.data("count", UNKNOWN))
    to.record("unknown_upsert", "POST", to.data("upsert", UNKNOWN), RECORDS)
    to.record("id_is_name", "GET", to.data("count", "books"))
    to.record("delete", "POST", to.data("delete"), {"ids": ["a"]})
    to.record("records_left", "POST", to.data("get"), {"include": [], "ids": ["a"]})
    to.record("rename", "PUT", to.data(), {"new_name": "library"})
    to.record("collection_renamed", "GET", to.collections("library"))
    to.record("collection_delete", "DELETE", to.collections("library"))
    to.record("collection_gone", "GET", to.collections("library"))
    to.record("delete_missing", "DELETE", to.collections("library"))


def record_refusals(to: Recorder) -> None:
    """Record what a server that demands a token of itself answers without one and with a wrong one."""
    path = to.collections(query="limit=1&offset=0")
    to.record("token_absent", "GET", path)
    to.record("token_wrong", "GET", path, headers={"X-Chroma-Token": "wrong"})
    to.record("token_right", "GET", path, headers={"X-Chroma-Token": TOKEN})
    to.record("token_absent_v2_version", "GET", "/api/v2/version")


def main(versions: list[str]) -> None:
    """Record the given releases, or all of them."""
    for version in versions or servers.VERSIONS:
        folder = TESTS / "unit" / "fixtures" / version
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            old.unlink()
        with servers.running(version) as server:
            record(Recorder(server, folder))
        if version.startswith("0."):
            with servers.running(version, token=TOKEN) as server:
                record_refusals(Recorder(server, folder))
        print(f"{version}: {len(list(folder.glob('*.json')))} exchanges")


def _replaced(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def _settled(answer: Any) -> Any:
    """Replace what differs from run to run: the clock, and ids of databases."""
    if isinstance(answer, dict):
        fixed = {"nanosecond heartbeat": 1_700_000_000_000_000_000}
        answer = {key: fixed.get(key, _settled(value)) for key, value in answer.items()}
        if set(answer) == {"id", "name", "tenant"}:
            answer["id"] = UNKNOWN
    if isinstance(answer, list):
        return sorted((_settled(each) for each in answer), key=_name) if answer and isinstance(answer[0], dict) else answer
    return answer


def _name(each: Any) -> str:
    return str(each.get("name", "")) if isinstance(each, dict) else ""


if __name__ == "__main__":
    main(sys.argv[1:])
