# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chroma's HTTP API, typed. FOR INTERNAL COLLECTION USE ONLY.

Speaks v2 and, where the server has none (0.4), v1. One method is one request (or one paged sequence); plans and
comparisons live in ``_collections`` and ``_records``. Verified against 0.4.24, 0.5.23, 0.6.3, 1.0.20 and 1.5.9.
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import HNSW_KEYS, Collection, collection_of, nearest_of, rows_of
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Exchange, Transport

# A get with metadata over about 32,700 rows is answered with 500.
PAGE = 1000
# 1.x's max_batch_size; 0.x allows 41666, which only makes requests larger.
BATCH = 5461


class ChromaClient:
    """A Chroma server, seen through one tenant and one database.

    Args:
        connection: the server, credentials, tenant and database.
        exchange: replaces the network in unit tests.
        sleep: replaces waiting in unit tests, seconds.
    """

    def __init__(self, connection: Connection, exchange: Exchange | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self.connection = connection
        self._transport = Transport(connection, exchange, sleep)
        self._exchange, self._sleep = exchange, sleep

    def within(self, **changes: Any) -> ChromaClient:
        """Return a client for another tenant, database, token or other setting of the same server."""
        other = ChromaClient(replace(self.connection, **changes), self._exchange, self._sleep)
        if "_spoken" in vars(self):
            other._spoken = self._spoken
        return other

    # The server

    @cached_property
    def _spoken(self) -> tuple[str, str]:
        for api in ("v2", "v1"):
            try:
                version = self._transport.request("GET", f"/api/{api}/version")
            except ChromaError as error:
                # 0.4 knows no v2. A wrong token is no reason to try v1: gateways answer 401 before they look at the path.
                if error.code not in ("not_found", "unsupported"):
                    raise
            else:
                if isinstance(version, str):
                    return api, version
        message = f"{self.connection.url} answers neither /api/v2/version nor /api/v1/version as Chroma does."
        raise ChromaError("not_chroma", message, "Check the url, also its path, and what answers there.")

    @property
    def api(self) -> str:
        """``v2``, or ``v1`` where the server has no v2; asked once."""
        return self._spoken[0]

    @property
    def version(self) -> str:
        """What the server calls itself; every 1.x says ``1.0.0``."""
        return self._spoken[1]

    @property
    def legacy(self) -> bool:
        """Whether this is Chroma 0.x, written in Python, with other limits and a configuration in metadata."""
        return self.version.startswith("0.")

    def heartbeat(self) -> int:
        """Return the server's clock in nanoseconds; needs no token behind our gateway."""
        return int(self._transport.request("GET", f"/api/{self.api}/heartbeat")["nanosecond heartbeat"])

    @cached_property
    def max_batch_size(self) -> int:
        """How many records the server takes in one request."""
        return int(self._transport.request("GET", f"/api/{self.api}/pre-flight-checks")["max_batch_size"])

    # Tenants and databases

    def tenant_exists(self) -> bool:
        """Return whether the connection's tenant exists."""
        return self._exists(f"/api/{self.api}/tenants/{_quoted(self.connection.tenant)}")

    def create_tenant(self) -> None:
        """Create the connection's tenant; no release can remove one."""
        self._transport.request("POST", f"/api/{self.api}/tenants", {"name": self.connection.tenant})

    def database_exists(self) -> bool:
        """Return whether the connection's database exists in its tenant."""
        return self._exists(self._databases(self.connection.database))

    def create_database(self) -> None:
        """Create the connection's database. Chroma does so even in a tenant that does not exist: look first."""
        self._transport.request("POST", self._databases(), {"name": self.connection.database})

    def delete_database(self) -> None:
        """Delete the connection's database with all its collections; ``unsupported`` on 0.4 and 0.5."""
        self._transport.request("DELETE", self._databases(self.connection.database))

    # Collections

    def get_collection(self, name: str) -> Collection | None:
        """Return the collection of that name, or None."""
        try:
            return collection_of(self._transport.request("GET", self._collections(name)))
        except ChromaError as error:
            if error.code == "not_found":
                return None
            raise

    def require_collection(self, name: str) -> Collection:
        """Return the collection of that name.

        Raises:
            ChromaError: ``not_found``.
        """
        found = self.get_collection(name)
        if found is None:
            where = f"database {self.connection.database} of tenant {self.connection.tenant}"
            raise ChromaError("not_found", f"There is no collection {name} in {where}.", "Check the name, the tenant and the database.")
        return found

    def list_collections(self) -> list[Collection]:
        """Return all collections of the database, sorted by name."""
        found: list[Collection] = []
        while True:
            page = self._transport.request("GET", self._collections(limit=PAGE, offset=len(found)))
            found += [collection_of(each) for each in page]
            if len(page) < PAGE:
                return sorted(found, key=lambda each: each.name)

    def check_access(self) -> None:
        """Ask for one collection, which servers and gateways that demand a token refuse without it."""
        self._transport.request("GET", self._collections(limit=1, offset=0))

    def count_collections(self) -> int:
        """Return how many collections the database has."""
        if self.api == "v1":
            return int(self._transport.request("GET", f"/api/v1/count_collections?{self._scope()}"))
        return int(self._transport.request("GET", f"{self._databases(self.connection.database)}/collections_count"))

    def create_collection(
        self,
        name: str,
        metadata: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        embedding_function: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Create a collection; unless one is given it has no embedding function, so that no client loads the default one.

        Args:
            name: see :func:`_collections.check_name`.
            metadata: text, integers, floats and booleans.
            configuration: index settings by the names of :data:`HNSW_KEYS`.
            embedding_function: what clients are told to use, as 1.x stores it; 0.x has no place for it.
            schema: index settings and more, as 1.5 describes them, which takes it instead of the two before; older ones ignore it.

        Raises:
            ChromaError: ``conflict`` where it exists.
        """
        body: dict[str, Any] = {"name": name, "metadata": dict(metadata or {}), "get_or_create": False}
        if self.legacy:
            # 0.5 and 0.6 store a configuration but build the index from these keys.
            body["metadata"] |= {HNSW_KEYS[key]: value for key, value in (configuration or {}).items()}
        elif schema:
            body["schema"] = dict(schema)
        else:
            body["configuration"] = {"hnsw": dict(configuration or {}), "embedding_function": embedding_function}
        body["metadata"] = body["metadata"] or None  # an empty one is refused
        return collection_of(self._transport.request("POST", self._collections(), body))

    def update_collection(
        self,
        collection: Collection,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        embedding_function: Mapping[str, Any] | None = None,
    ) -> None:
        """Rename a collection, replace its metadata, or change settings of its index.

        Args:
            collection: found before; addressed by its id.
            name: the new name; look first whether it is taken, the server only reports a database error.
            metadata: the whole new metadata; Chroma replaces and does not merge.
            configuration: settings to change (1.x only; 0.x ignores them silently).
            embedding_function: what clients are told to use from now on (1.x only).
        """
        body: dict[str, Any] = {}
        if name is not None:
            body["new_name"] = name
        if metadata is not None:
            # Empty metadata is refused by 1.x and ignored by 0.x; nulls remove, on all of them.
            body["new_metadata"] = dict(metadata) or dict.fromkeys(collection.metadata)
        if configuration or embedding_function:
            body["new_configuration"] = {"hnsw": dict(configuration)} if configuration else {}
            if embedding_function:
                body["new_configuration"]["embedding_function"] = dict(embedding_function)
        self._transport.request("PUT", self._data(collection), body)

    def delete_collection(self, name: str) -> None:
        """Delete a collection and its records."""
        self._transport.request("DELETE", self._collections(name))

    # Records

    def count(self, collection: Collection) -> int:
        """Return how many records a collection has."""
        return int(self._transport.request("GET", self._data(collection, "count")))

    def write(self, collection: Collection, action: str, payload: bytes) -> None:
        """Send one batch that is encoded already (see :func:`_records.encode_batches`).

        Args:
            action: ``upsert``, or ``update``, which leaves embeddings as they are; or ``add``, which Chroma ignores silently where the
                id exists: only for what must not replace a record.
        """
        self._transport.request("POST", self._data(collection, action), payload, repeatable=True)

    def delete(self, collection: Collection, ids: Sequence[str], page: int = PAGE) -> None:
        """Delete records by id, ``page`` at a time; absent ones are ignored by the server."""
        for start in range(0, len(ids), page):
            self._transport.request("POST", self._data(collection, "delete"), {"ids": list(ids[start : start + page])}, repeatable=True)

    def get(
        self,
        collection: Collection,
        ids: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        where_document: Mapping[str, Any] | None = None,
        include: Sequence[str] = ("embeddings", "documents", "metadatas", "uris"),
        page: int = PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Yield records as ``{id, embedding, document, metadata, uri}``, without the fields that are not included.

        Args:
            ids: only these; None means all.
            where, where_document: Chroma's filters.
            include: fields to fetch; none is cheapest.
            page: rows fetched by one request.
        """
        body = {"include": list(include), "where": where or None, "where_document": where_document or None}
        body = {key: value for key, value in body.items() if value is not None}
        if ids is not None:
            for start in range(0, len(ids), page):
                yield from rows_of(self._get(collection, {**body, "ids": list(ids[start : start + page])}))
            return
        offset = 0
        while True:
            rows = rows_of(self._get(collection, {**body, "limit": page, "offset": offset}))
            yield from rows
            if len(rows) < page:
                return
            offset += len(rows)

    def page(self, collection: Collection, include: Sequence[str], limit: int, offset: int) -> Mapping[str, Any]:
        """Return one page of a collection by column, as it came: ``ids``, and what ``include`` names; always in the same order."""
        return self._get(collection, {"include": list(include), "limit": limit, "offset": offset})

    def query(
        self, collection: Collection, query_embeddings: Sequence[Sequence[float]], n_results: int = 10, **options: Any
    ) -> list[list[dict[str, Any]]]:
        """Return the nearest records for each query embedding, nearest first.

        Args:
            query_embeddings: ``(q, dim)``.
            n_results: how many for each.
            options: ``where``, ``where_document``, ``include`` (by default distances, documents, metadatas).

        Returns:
            For each query embedding a list of ``{id, distance, document, metadata, embedding, uri}``, by what is included.
        """
        body = {"query_embeddings": [list(each) for each in query_embeddings], "n_results": n_results}
        body |= {key: value for key, value in options.items() if value is not None}
        answer = self._transport.request("POST", self._data(collection, "query"), body, repeatable=True)
        return nearest_of(answer)

    # Paths

    def _get(self, collection: Collection, body: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._transport.request("POST", self._data(collection, "get"), body, repeatable=True)
        return answer

    def _exists(self, path: str) -> bool:
        try:
            self._transport.request("GET", path)
        except ChromaError as error:
            if error.code == "not_found":
                return False
            raise
        return True

    def _scope(self, **query: Any) -> str:
        return urllib.parse.urlencode({"tenant": self.connection.tenant, "database": self.connection.database, **query})

    def _databases(self, name: str = "") -> str:
        tail = f"/{_quoted(name)}" if name else ""
        if self.api == "v1":
            return f"/api/v1/databases{tail}?{urllib.parse.urlencode({'tenant': self.connection.tenant})}"
        return f"/api/v2/tenants/{_quoted(self.connection.tenant)}/databases{tail}"

    def _collections(self, name: str = "", **query: Any) -> str:
        tail = f"/{_quoted(name)}" if name else ""
        if self.api == "v1":
            return f"/api/v1/collections{tail}?{self._scope(**query)}"
        return f"{self._databases(self.connection.database)}/collections{tail}" + (f"?{urllib.parse.urlencode(query)}" if query else "")

    def _data(self, collection: Collection, action: str = "") -> str:
        tail = f"/{action}" if action else ""
        if self.api == "v1":
            return f"/api/v1/collections/{collection.id}{tail}"
        return f"{self._databases(self.connection.database)}/collections/{collection.id}{tail}"


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
