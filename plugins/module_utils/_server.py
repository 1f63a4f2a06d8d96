# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server itself, its tenants and databases. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 3.0
# A controller may show its own certificate for some seconds after a new one was stored; longer, it is the wrong one.
_TLS_GRACE = 30.0
# Nothing that waiting could mend.
_FINAL = ("invalid_url", "invalid_token", "invalid_value")


def describe_server(client: ChromaClient) -> dict[str, Any]:
    """Return what an authenticated client and an anonymous one see.

    Returns:
        ``version`` (every 1.x says 1.0.0), ``api_version``, ``max_batch_size``, ``heartbeat`` (nanoseconds) and ``auth_enforced``:
        whether a list of collections was refused to a request without a token.

    Raises:
        ChromaError: the token is refused, or the server does not answer.
    """
    client.check_access()
    return {
        "version": client.version,
        "api_version": client.api,
        "max_batch_size": client.max_batch_size,
        "heartbeat": client.heartbeat(),
        "auth_enforced": auth_enforced(client),
    }


def auth_enforced(client: ChromaClient) -> bool:
    """Return whether the server refuses to list collections to a request without a token; measured, never concluded."""
    try:
        client.within(token=None).check_access()
    except ChromaError as error:
        if error.code in ("unauthorized", "forbidden"):
            return True
        raise
    return False


def wait_for_server(
    client: ChromaClient,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Repeat :func:`describe_server` until it succeeds.

    Args:
        seconds: how long; 0 tries once. A refused token is waited for too: a gateway learns a new one after some seconds.
            A certificate that is not accepted is waited for 30 seconds from its first sight on.
        clock, sleep: replaced in unit tests, seconds.

    Raises:
        ChromaError: the last one seen; its result carries ``attempts`` and ``waited`` (seconds).
    """
    started, attempts, pause = clock(), 0, _FIRST_PAUSE
    end, tls_end = started + seconds, 0.0
    while True:
        attempts += 1
        try:
            return describe_server(client)
        except ChromaError as error:
            if error.code == "tls":
                tls_end = tls_end or min(end, clock() + _TLS_GRACE)
            left = (tls_end if error.code == "tls" else end) - clock()
            if left <= 0 or error.code in _FINAL:
                error.result = {**error.result, "attempts": attempts, "waited": round(clock() - started, 1)}
                raise
        sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)


def ensure_database(client: ChromaClient, check: bool = False) -> dict[str, Any]:
    """Create the connection's tenant and database where they are absent.

    Returns:
        ``changed``, ``created`` (``tenant``, ``database``) and ``diff``.
    """
    database = client.connection.database
    tenant = client.tenant_exists()
    # Chroma looks a database up without its tenant, and would also create it so.
    exists = tenant and client.database_exists()
    if not check:
        if not tenant:
            client.create_tenant()
        if not exists:
            client.create_database()
            if not (client.tenant_exists() and client.database_exists()):
                raise ChromaError("not_applied", f"Database {database} was created but cannot be found.", "Look at the server's log.")
    created = [name for name, there in (("tenant", tenant), ("database", exists)) if not there]
    return {"changed": bool(created), "created": created, "diff": _diff(client, exists, True)}


def ensure_no_database(client: ChromaClient, force: bool = False, check: bool = False) -> dict[str, Any]:
    """Delete the connection's database. Its tenant stays: no release can remove one.

    Args:
        force: delete it although it has collections, with all their records.

    Returns:
        ``changed``, ``collections`` (how many went with it) and ``diff``.

    Raises:
        ChromaError: ``not_empty``, or ``unsupported`` on 0.4 and 0.5.
    """
    database = client.connection.database
    exists = client.database_exists()
    collections = client.count_collections() if exists else 0
    if collections and not force:
        message = f"Database {database} has {collections} collections."
        raise ChromaError("not_empty", message, "Delete them first, or pass force to delete them with it.", {"collections": collections})
    if exists and not check:
        client.delete_database()
        if client.database_exists():
            raise ChromaError("not_applied", f"Database {database} is still there after its deletion.", "Look at the server's log.")
    return {"changed": exists, "collections": collections, "diff": _diff(client, exists, False)}


def _diff(client: ChromaClient, before: bool, after: bool) -> dict[str, Any]:
    described = {"tenant": client.connection.tenant, "database": client.connection.database}
    return {"before": described if before else {}, "after": described if after else {}}
