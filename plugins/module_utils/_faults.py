# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refusal of Chroma means. FOR INTERNAL COLLECTION USE ONLY.

The same refusal has three shapes: 0.4 answers 500 with the representation of a Python exception in ``error``,
0.5 and 0.6 answer 400 or 404 with ``error`` and ``message``, 1.x answers 404, 409 or 500 with other words.
The rules below were written from recorded answers of 0.4.24, 0.5.23, 0.6.3, 1.0.20 and 1.5.9.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


@dataclass(frozen=True)
class _Rule:
    """A code, the statuses and texts that mean it (either suffices where both are given), and the next step."""

    code: str
    hint: str
    statuses: tuple[int, ...] = ()
    text: str = ""

    def matches(self, status: int, text: str) -> bool:
        return status in self.statuses or bool(self.text and re.search(self.text, text, re.IGNORECASE))


# The first match wins: texts that several statuses carry come before the statuses.
_RULES = (
    _Rule(
        "unauthorized",
        "Pass the right token, and the header that the server reads it from (token, token_header).",
        (401,),
        # 0.5 and 0.6 answer 403 to a wrong token with exactly these words; the gateway's 403 has others.
        r"^AuthError: Forbidden$",
    ),
    _Rule("forbidden", "The token is known but may not do this: use one with scope write, or the administrator's.", (403,)),
    _Rule(
        "embedding_function",
        "Something between here and Chroma loads the ONNX model of the default embedding function. "
        "This collection never does: pass embeddings, and let no client create the collection with a default embedding function.",
        text=r"acquire lock for onnx download|timeout waiting for file lock|default embedding function",
    ),
    _Rule(
        "dimension_mismatch",
        "All embeddings of a collection have one dimension, fixed by its first record. Use the model that filled it.",
        text=r"InvalidDimension|embedding with dimension of|does not match collection dimensionality",
    ),
    _Rule(
        "invalid_name",
        "A name has 3 to 512 (Chroma 0.x: 63) of the characters a-z A-Z 0-9 . _ - and starts and ends with a letter or digit.",
        text=r"Expected collection name that|Expected a name ",
    ),
    _Rule(
        "conflict",
        "Choose another name, or remove the one that exists first.",
        (409,),
        r"UniqueConstraintError|UNIQUE constraint failed",
    ),
    _Rule(
        "not_found",
        "Check the name, the tenant and the database.",
        (404,),
        # StopIteration is how 0.4.24 reports an unknown collection id.
        r"NotFoundError|InvalidCollection|does not exists?\b|coroutine raised StopIteration",
    ),
    _Rule("too_large", "Send fewer records at a time, or raise the body size limit of the gateway or ingress.", (413,)),
    _Rule("unsupported", "This Chroma release does not offer it; see the module's notes on versions.", (405, 410, 501)),
    _Rule("rate_limited", "Try again later, or raise retries.", (429,)),
    _Rule("timeout", "Raise timeout, and look at the server's load and its log.", (408, 504)),
    _Rule("unavailable", "Chroma is starting, stopping or overloaded: look at its pod, or raise retries or wait.", (502, 503)),
)


def refusal(action: str, status: int, body: bytes) -> ChromaError:
    """Turn an answer that is no success into the typed error that a caller can act on.

    Args:
        action: what was attempted, method and path.
        status: the HTTP status, 300 or above.
        body: the body of the answer; JSON from Chroma and the gateway, anything from a proxy.

    Returns:
        The error, not raised. Its code is one of ``unauthorized``, ``forbidden``, ``embedding_function``, ``dimension_mismatch``,
        ``invalid_name``, ``conflict``, ``not_found``, ``too_large``, ``unsupported``, ``rate_limited``, ``timeout``,
        ``unavailable``, ``redirected``, ``invalid_request`` (another 4xx) and ``server_error`` (another 5xx).
    """
    text = reason(body)
    message = f"{action} was answered with {status}" + (f": {text}" if text else "")
    if not message.endswith("."):
        message += "."  # whoever shows it goes on with the hint
    if 300 <= status < 400:
        return ChromaError("redirected", message, "Use the address that it redirects to, so that the token is sent to no other host.")
    for rule in _RULES:
        if rule.matches(status, text):
            return ChromaError(rule.code, message, rule.hint)
    if status < 500:
        return ChromaError("invalid_request", message, "Correct the values that the message names.")
    return ChromaError("server_error", message, "Look at the log of the Chroma server.")


def reason(body: bytes) -> str:
    """Return the server's words in one line, at most 500 characters, from any of the shapes that it answers in."""
    text = body.decode("utf-8", "replace").strip()
    try:
        parsed: Any = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        if "detail" in parsed:  # FastAPI's own errors
            text = parsed["detail"] if isinstance(parsed["detail"], str) else json.dumps(parsed["detail"])
        else:
            text = ": ".join(str(parsed[key]) for key in ("error", "message") if parsed.get(key))
    elif text.startswith("<"):
        text = "an HTML page, so something else than Chroma answered"
    text = " ".join(text.split())
    return text if len(text) <= 500 else text[:497] + "..."
