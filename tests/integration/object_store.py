# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real S3 server (versitygw) on loopback, for tests and benchmarks: the program that the local cluster runs.

It is built once from ``local/versitygw`` and kept in ``${XDG_CACHE_HOME:-~/.cache}/thinkube-chroma/versitygw-<key>``.
Needs Go and nothing but Python's standard library.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import building
import servers

SOURCE = Path(__file__).resolve().parents[2] / "local" / "versitygw"


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server.

    Attributes:
        endpoint: base URL, for example ``http://127.0.0.1:41234``.
        bucket: a bucket that exists; each further folder of ``root`` is one as well.
        access_key, secret_key: of the account that may do everything.
        root: the folder of the buckets; objects are files below it.
        pid: of its process.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    root: Path
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """The credentials as the environment variables that every S3 client reads."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


def program() -> Path:
    """Return the program, and build it first where it is absent; it appears whole or not at all."""
    key = hashlib.sha1((SOURCE / "go.sum").read_bytes()).hexdigest()[:12]
    target = building.cache() / f"versitygw-{key}"
    with building.missing(target) as missing:
        if missing:
            print(f"building {target}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix=".versitygw-", dir=building.cache()) as scratch:
                built = Path(scratch) / "versitygw"
                arguments = ["go", "build", "-C", str(SOURCE), "-trimpath", "-ldflags", "-s -w", "-o", str(built)]
                environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}
                subprocess.run([*arguments, "github.com/versity/versitygw/cmd/versitygw"], check=True, env=environment)
                built.rename(target)
    return target


@contextlib.contextmanager
def running(root: Path | None = None, *, port: int = 0, wait: float = 30.0) -> Iterator[ObjectStore]:
    """Serve a folder by S3 for the length of a ``with`` block.

    Args:
        root: folder of the buckets, kept afterwards, on a file system with extended attributes (not /tmp where that is a tmpfs);
            a temporary one, removed afterwards, where absent.
        port: TCP port of 127.0.0.1, to be found again after a restart; any free one where 0.
        wait: seconds until it has to answer.
    """
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="object-store-", dir="/var/tmp", ignore_cleanup_errors=True)))
        buckets = root or scratch / "buckets"
        (buckets / "chroma").mkdir(parents=True, exist_ok=True)
        (scratch / "accounts").mkdir()
        port = port or servers.free_port()
        access_key, secret_key = "test", "test-secret-key-of-no-value"
        listening = ["--port", f"127.0.0.1:{port}", "--health", "/healthz", "--quiet", "--iam-dir", str(scratch / "accounts")]
        command = [str(program()), *listening, "posix", str(buckets)]
        log = scratch / "log"
        with log.open("wb") as output:
            environment = {**os.environ, "ROOT_ACCESS_KEY": access_key, "ROOT_SECRET_KEY": secret_key}
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        stack.callback(servers.stop, process, 5.0)
        if not servers.until_answers(port, "/healthz", process, wait):
            raise RuntimeError(f"versitygw did not answer within {wait:.0f} s:\n{log.read_text(errors='replace')[-2000:]}")
        yield ObjectStore(f"http://127.0.0.1:{port}", "chroma", access_key, secret_key, buckets, process.pid)


def add_stranger(store: ObjectStore) -> tuple[str, str]:
    """Make an account that may do nothing in any bucket that is there; return its two keys."""
    keys = ("stranger", "secret-of-the-stranger")
    who = ["--access", store.access_key, "--secret", store.secret_key, "--endpoint-url", store.endpoint]
    made = ["create-user", "--access", keys[0], "--secret", keys[1], "--role", "user"]
    subprocess.run([str(program()), "admin", *who, *made], check=True, stdout=subprocess.DEVNULL)
    return keys


if __name__ == "__main__":
    print(program())
