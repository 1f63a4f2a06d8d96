# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP exchange with Chroma, made reliable. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import email.utils
import functools
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.urls import ConnectionError as AnsibleConnectionError
from ansible.module_utils.urls import Request, SSLValidationError, make_context

from ansible_collections.thinkube.chroma.plugins.module_utils._backoff import delay as backoff
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._faults import refusal

_loads: Callable[[bytes], Any] = json.loads
with contextlib.suppress(ImportError):
    # On the data plane. It reads pages of embeddings several times as fast as the standard library.
    import orjson

    _loads = orjson.loads

TOKEN_HEADERS = ("X-Chroma-Token", "Authorization")

# 1.x closes the connection in the middle of a larger request, so that not even the refusal can be read (measured).
PAYLOAD_LIMIT = 41_943_040

_RETRIED = (429, 502, 503, 504)
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


@dataclass(frozen=True)
class Connection:
    """How to reach a Chroma server.

    Args:
        url: base URL without ``/api``; a path prefix is kept.
        token: sent with each request; none is sent where it is empty.
        token_header: ``X-Chroma-Token`` (the bare token) or ``Authorization`` (``Bearer`` and the token).
        tenant, database: where collections are looked up.
        ca_path: file of PEM certificates that are trusted beside the system's.
        validate_certs: false accepts any certificate.
        timeout: seconds that one answer may take.
        retries: how often a repeatable request is repeated.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    token_header: str = "X-Chroma-Token"
    tenant: str = "default_tenant"
    database: str = "default_database"
    ca_path: str | None = None
    validate_certs: bool = True
    timeout: float = 30.0
    retries: int = 3


@dataclass(frozen=True)
class Reply:
    """A complete HTTP answer, of any status."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Exchange = Callable[[str, str, "bytes | None"], Reply]


class Unanswered(Exception):
    """No answer came. ``repeatable`` is false where the server may still be working on the request."""

    def __init__(self, error: ChromaError, repeatable: bool = True) -> None:
        super().__init__(error.message)
        self.error = error
        self.repeatable = repeatable


class Transport:
    """Sends requests and returns decoded JSON; repeats what is safe to repeat; raises :class:`ChromaError` only.

    Args:
        connection: the server and the credentials.
        exchange: one request and its answer; replaced in unit tests.
        sleep: how to wait, seconds; replaced in unit tests.
    """

    def __init__(self, connection: Connection, exchange: Exchange | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._connection = connection
        self._exchange = exchange or http_exchange(connection)
        self._sleep = sleep

    def request(self, method: str, path: str, body: Any = None, repeatable: bool | None = None) -> Any:
        """Send one request and return the decoded answer.

        Args:
            method: HTTP method.
            path: from ``/api`` on, quoted.
            body: bytes that are JSON already, or a value to encode; None sends no body.
            repeatable: whether doing it twice does the same as once; by default what HTTP says of the method
                (GET and PUT are; POST and DELETE are not: a repeated DELETE would report "not found" of its own success).

        Raises:
            ChromaError: see :func:`_faults.refusal`; besides ``unreachable``, ``tls``, ``timeout``, ``too_large``, ``not_chroma``.
        """
        payload = body if body is None or isinstance(body, bytes) else encode(body)
        if payload is not None and len(payload) > PAYLOAD_LIMIT:
            raise ChromaError(
                "too_large",
                f"{method} {path}: {len(payload)} bytes are more than the {PAYLOAD_LIMIT} that Chroma takes.",
                "Send less at a time.",
            )
        again = method in ("GET", "PUT") if repeatable is None else repeatable
        for attempt in range(self._connection.retries + 1):
            last = attempt == self._connection.retries or not again
            try:
                reply = self._exchange(method, path, payload)
            except Unanswered as failure:
                if last or not failure.repeatable:
                    raise failure.error from failure
                self._sleep(delay(attempt))
                continue
            if 200 <= reply.status < 300:
                return _decode(f"{method} {path}", reply)
            if last or reply.status not in _RETRIED:
                raise self._scrubbed(refusal(f"{method} {path}", reply.status, reply.body))
            self._sleep(delay(attempt, reply.headers))
        raise AssertionError("the last attempt returns or raises")

    def _scrubbed(self, error: ChromaError) -> ChromaError:
        """Keep the token out of a message even where a server echoes the request."""
        token = self._connection.token
        if token and token in error.message:
            return ChromaError(error.code, error.message.replace(token, "********"), error.hint, error.result)
        return error


def encode(body: Any) -> bytes:
    """Return compact JSON; NaN and infinity are refused, because Chroma would answer with a parse error.

    Raises:
        ChromaError: ``invalid_value``.
    """
    try:
        return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ChromaError("invalid_value", f"A value cannot be sent as JSON: {error}.", "Use text, numbers and booleans only.") from error


def delay(attempt: int, headers: Mapping[str, str] | None = None) -> float:
    """Return the seconds to wait before the next attempt: what Retry-After asks for, else doubling with jitter, at most 30.

    Args:
        attempt: 0 for the first failure.
        headers: of the answer, if there was one.
    """
    asked = next((value for name, value in (headers or {}).items() if name.lower() == "retry-after"), "")
    if asked.strip().isdigit():
        return min(float(asked), _LONGEST_DELAY)
    moment = email.utils.parsedate_tz(asked) if asked else None
    if moment is not None:
        return min(max(float(email.utils.mktime_tz(moment)) - time.time(), 0.0), _LONGEST_DELAY)
    return backoff(attempt + 1, _FIRST_DELAY, _LONGEST_DELAY)


def check_connection(connection: Connection) -> None:
    """Refuse settings that cannot work before anything is sent.

    Raises:
        ChromaError: ``invalid_url``, ``invalid_token`` (the value is never named) or ``invalid_value``.
    """
    try:
        parts = urllib.parse.urlsplit(connection.url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", connection.url):
        raise ChromaError("invalid_url", "The url of the Chroma server is not valid.", "Use the form https://chroma.example.com.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ChromaError("invalid_url", "The url must not carry a user, password, query or fragment.", "Pass the credential as token.")
    # An HTTP header can carry no more; a newline would end it and smuggle another one in.
    if connection.token and not re.fullmatch(r"[\x21-\x7e]+", connection.token):
        raise ChromaError("invalid_token", "The token must be printable ASCII without whitespace.", "Look for a newline at its end.")
    if connection.timeout <= 0 or connection.retries < 0:
        raise ChromaError("invalid_value", "timeout must be above 0 and retries at least 0.", "Correct the value.")


def http_exchange(connection: Connection) -> Exchange:
    """Return the function that really sends a request, through ansible-core's HTTP client.

    Raises:
        ChromaError: the connection's settings are refused.
    """
    check_connection(connection)
    base = connection.url.rstrip("/")
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if connection.token:
        bearer = connection.token_header == "Authorization"
        headers[connection.token_header] = f"Bearer {connection.token}" if bearer else connection.token

    @functools.cache
    def context() -> Any:
        # Without one of ours, each request reads the system's certificates again: 31 ms, over plain HTTP too.
        return make_context(cafile=connection.ca_path, validate_certs=connection.validate_certs)

    def exchange(method: str, path: str, payload: bytes | None) -> Reply:
        try:
            with open_url(
                base + path,
                method=method,
                context=context(),
                data=payload,
                headers=headers,
                timeout=connection.timeout,
                follow_redirects="none",  # the token goes to no other host
                use_netrc=False,  # ~/.netrc would replace the Authorization header
                http_agent="thinkube.chroma",
            ) as answer:
                return Reply(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read(), dict(error.headers))
        except (OSError, http.client.HTTPException, ValueError, SSLValidationError, AnsibleConnectionError) as error:
            raise _unanswered(f"{method} {base}{path}", connection, error) from error

    return exchange


def open_url(url: str, method: str, **options: Any) -> Any:
    """Send one request; ansible-core's function of that name takes no context."""
    return Request().open(method, url, **options)


def _unanswered(action: str, connection: Connection, error: Exception) -> Unanswered:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, (ssl.SSLError, SSLValidationError)) or "certificate" in str(cause).lower():
        hint = "Pass the certificate authority as ca_path, and use the host name that the certificate carries."
        return Unanswered(ChromaError("tls", f"{action}: the TLS connection failed: {cause}.", hint), repeatable=False)
    if connection.ca_path and isinstance(cause, FileNotFoundError):
        return Unanswered(ChromaError("tls", f"{action}: cannot read {connection.ca_path}.", "Correct ca_path."), repeatable=False)
    if isinstance(cause, TimeoutError):
        message = f"{action}: no answer within {connection.timeout:g} s."
        # Raised by connect, nothing was sent; raised by the answer, the server is still busy with the first request.
        return Unanswered(
            ChromaError("timeout", message, "Raise timeout, or look at the server's load."), isinstance(error, urllib.error.URLError)
        )
    return Unanswered(
        ChromaError("unreachable", f"{action}: {cause or type(cause).__name__}.", "Check url, name resolution, and that the server runs.")
    )


def _decode(action: str, reply: Reply) -> Any:
    try:
        return _loads(reply.body) if reply.body.strip() else None
    except ValueError as error:
        hint = "Another service answers at this url; check it, and any login page in front."
        raise ChromaError("not_chroma", f"{action} was answered with something that is not JSON.", hint) from error
