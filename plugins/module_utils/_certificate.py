# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a certificate says of itself. FOR INTERNAL COLLECTION USE ONLY.

Read here, because the cryptography package need not be on the control plane host.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime

_ALTERNATIVE_NAMES = bytes.fromhex("551d11")  # 2.5.29.17


@dataclass(frozen=True)
class Certificate:
    """The parts of a certificate that a server's clients judge.

    Attributes:
        end: when it expires, in seconds since the epoch.
        names: the DNS names among its alternative names, in lower case; clients look at nothing else.
    """

    end: float
    names: tuple[str, ...]

    def covers(self, host: str) -> bool:
        """Tell whether it is valid for a host name; a wildcard stands for exactly one label (RFC 9525, 6.3)."""
        wildcard = f"*.{host.lower().partition('.')[2]}"
        return host.lower() in self.names or wildcard in self.names


def read_certificate(pem: bytes) -> Certificate:
    """Read the first certificate of a PEM file, which is the server's own.

    Format: RFC 5280, 4.1. The validity is the fourth element of TBSCertificate after the optional version, the extensions are
    the last one, tagged [3].

    Raises:
        ValueError: it holds no certificate.
    """
    try:
        body = pem.split(b"-----BEGIN CERTIFICATE-----")[1].split(b"-----END CERTIFICATE-----")[0]
        certificate = _elements(base64.b64decode(b"".join(body.split()), validate=True))[0][1]
        fields = _elements(_elements(certificate)[0][1])
        skipped = 1 if fields[0][0] == 0xA0 else 0
        tag, value = _elements(fields[skipped + 3][1])[1]
        moment = datetime.strptime(value.decode("ascii"), "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ")
        return Certificate(moment.replace(tzinfo=UTC).timestamp(), _names(fields[-1]))
    except (IndexError, ValueError, binascii.Error) as error:
        raise ValueError("no readable certificate") from error


def _names(last: tuple[int, bytes]) -> tuple[str, ...]:
    tag, content = last
    if tag != 0xA3:
        return ()
    for _sequence, extension in _elements(_elements(content)[0][1]):
        parts = _elements(extension)
        if parts[0][1] == _ALTERNATIVE_NAMES:
            return tuple(name.decode("ascii").lower() for kind, name in _elements(_elements(parts[-1][1])[0][1]) if kind == 0x82)
    return ()


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Split the content of a DER SEQUENCE into (tag, content)."""
    found, position = [], 0
    while position < len(der):
        tag, length = der[position], der[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[position : position + size], "big")
            position += size
        found.append((tag, der[position : position + length]))
        position += length
    return found
