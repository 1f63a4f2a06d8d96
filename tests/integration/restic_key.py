# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Encryption as restic does it, and keys of repositories that are cheap to derive: ``python restic_key.py DIRECTORY``.

restic makes the derivation of a repository's key take half a second of processor, at each of its starts. Its own tests leave that out.

Format: https://github.com/restic/restic/blob/master/doc/design.rst#keys-encryption-and-mac
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

# scrypt's N; restic itself takes 32,768 and more.
CHEAP = 256


def seal(encrypt: bytes, k: bytes, r: bytes, text: bytes) -> bytes:
    """Return a text encrypted with a key of 32 bytes, and signed with the two halves of another one."""
    nonce = os.urandom(16)
    sealed = _stream(encrypt, nonce, text)
    return nonce + sealed + Poly1305.generate_tag(_once(k, r, nonce), sealed)


def unseal(encrypt: bytes, k: bytes, r: bytes, content: bytes) -> bytes:
    """Return what :func:`seal` was given; raise InvalidSignature where the keys are others."""
    nonce, sealed, tag = content[:16], content[16:-16], content[-16:]
    Poly1305.verify_tag(_once(k, r, nonce), sealed, tag)
    return _stream(encrypt, nonce, sealed)


def cheapen(directory: Path, password: str) -> None:
    """Exchange the one key of a repository for one of the same password and content."""
    [old] = (directory / "keys").iterdir()
    key: dict[str, Any] = json.loads(old.read_bytes())
    text = unseal(*_derive(key, password), base64.b64decode(key["data"]))
    key["N"] = CHEAP
    key["data"] = base64.b64encode(seal(*_derive(key, password), text)).decode()
    content = json.dumps(key).encode()
    new = old.with_name(hashlib.sha256(content).hexdigest())
    new.write_bytes(content)
    new.chmod(old.stat().st_mode)
    old.unlink()


def _derive(key: dict[str, Any], password: str) -> tuple[bytes, bytes, bytes]:
    salt = base64.b64decode(key["salt"])
    keys = hashlib.scrypt(password.encode(), salt=salt, n=key["N"], r=key["r"], p=key["p"], maxmem=1 << 30, dklen=64)
    return keys[:32], keys[32:48], keys[48:]


def _once(k: bytes, r: bytes, nonce: bytes) -> bytes:
    block = Cipher(algorithms.AES(k), modes.ECB()).encryptor()
    return r + block.update(nonce)


def _stream(encrypt: bytes, nonce: bytes, text: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(encrypt), modes.CTR(nonce)).encryptor()
    return encryptor.update(text) + encryptor.finalize()


if __name__ == "__main__":
    cheapen(Path(sys.argv[1]), os.environ["RESTIC_PASSWORD"])
