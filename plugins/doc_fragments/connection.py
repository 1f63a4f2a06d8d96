# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that speak to a Chroma server."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach a Chroma server."""

    DOCUMENTATION = r"""
options:
  url:
    description:
      - Base URL of the server or of the gateway in front of it, without C(/api).
      - Taken from the environment variable E(CHROMA_API_URL) where it is not set.
    type: str
    required: true
  token:
    description:
      - Token that is sent with each request. None is sent where it is not set.
      - Taken from the environment variable E(CHROMA_AUTH_TOKEN) where it is not set.
    type: str
  token_header:
    description:
      - Header that carries the token.
      - V(X-Chroma-Token) carries it as it is, V(Authorization) carries it after C(Bearer).
    type: str
    choices: [X-Chroma-Token, Authorization]
    default: X-Chroma-Token
  tenant:
    description: Tenant whose databases are used.
    type: str
    default: default_tenant
  database:
    description:
      - Database whose collections are used.
      - M(thinkube.chroma.chroma_database) takes its O(thinkube.chroma.chroma_database#module:name) instead.
    type: str
    default: default_database
  ca_path:
    description: File of PEM certificates that are trusted, on the host where the module runs.
    type: path
  validate_certs:
    description: Whether the certificate of the server is verified.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for one answer.
    type: float
    default: 30.0
  retries:
    description:
      - How often a request is repeated after a connection failure or an answer 429, 502, 503 or 504.
      - Only requests that are safe to repeat are. The pauses double, with jitter, unless the answer says how long to wait.
    type: int
    default: 3
notes:
  - Works with Chroma 0.4.24 to 1.5.9, through the API v2, or v1 where the server has no v2.
  - Needs nothing but ansible-core on the host where it runs.
"""
