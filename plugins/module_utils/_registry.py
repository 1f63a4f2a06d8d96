# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a registry holds an image. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import ConnectionError as AnsibleConnectionError
from ansible.module_utils.urls import open_url

from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import Image

ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)

Answer = tuple[int, dict[str, str], bytes]
Exchange = Callable[[str, str, dict[str, str]], Answer]


@dataclass(frozen=True)
class Presence:
    """What a registry says of an image.

    Attributes:
        present: None where it could not be found out; a registry that does not exist holds nothing.
        seen: the answer in words.
    """

    present: bool | None
    seen: str


def find_image(image: Image, timeout: float = 5, exchange: Exchange | None = None) -> Presence:
    """Ask the image's registry for its manifest, anonymously.

    Protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests; tokens:
    https://distribution.github.io/distribution/spec/auth/token/

    Args:
        image: the image; a name without registry means Docker Hub, as for containerd.
        timeout: seconds for one request.
        exchange: sends (method, URL, headers) and returns (status, headers in lower case, body); for tests.
    """
    send = exchange or (lambda method, url, headers: _exchange(method, url, headers, timeout))
    registry, path = _split(image.name)
    local = re.match(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?\Z", registry)
    reason = ""
    for scheme in ("https", "http") if local else ("https",):
        try:
            return _ask(send, f"{scheme}://{registry}/v2/{path}/manifests/{image.digest or image.tag or 'latest'}")
        except (socket.gaierror, ConnectionRefusedError) as error:
            # A mistyped name: the nodes will not find it either, and would try for minutes.
            return Presence(False, f"no registry at {registry}: {error.strerror}")
        except (OSError, HTTPException, ValueError) as error:
            reason = f"{registry} did not answer: {getattr(error, 'reason', None) or error}"
    return Presence(None, reason)


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return first, rest
    return "registry-1.docker.io", name if slash else f"library/{name}"


def _ask(send: Exchange, url: str) -> Presence:
    status, headers, _body = send("HEAD", url, {"Accept": ACCEPT})
    challenge = headers.get("www-authenticate", "")
    if status == 401 and challenge.lower().startswith("bearer "):
        token = _anonymous_token(send, challenge)
        if token:
            status, headers, _body = send("HEAD", url, {"Accept": ACCEPT, "Authorization": f"Bearer {token}"})
    if status == 200:
        return Presence(True, "present in the registry")
    if status == 404:
        return Presence(False, f"404 for {url}")
    return Presence(None, f"{status} for {url}")


def _anonymous_token(send: Exchange, challenge: str) -> str:
    parts = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm = parts.pop("realm", "")
    if not realm.startswith(("https://", "http://")):
        return ""
    status, _headers, body = send("GET", f"{realm}?{urlencode(parts)}", {})
    if status != 200:
        return ""
    answer = json.loads(body)
    return str(answer.get("token") or answer.get("access_token") or "")


def _exchange(method: str, url: str, headers: dict[str, str], timeout: float) -> Answer:
    try:
        response = open_url(url, method=method, headers=headers, timeout=timeout, http_agent="thinkube.chroma")
        return response.status, _lower(response.headers.items()), response.read(1 << 20)
    except HTTPError as error:
        with error:
            return error.code, _lower(error.headers.items()), b""
    except (URLError, AnsibleConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise reason if isinstance(reason, OSError) else OSError(str(reason)) from error


def _lower(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
