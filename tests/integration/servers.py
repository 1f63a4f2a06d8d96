# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Chroma servers of several releases on loopback, for tests and benchmarks.

Each release has its own virtual environment, built once with uv and kept in
``${XDG_CACHE_HOME:-~/.cache}/thinkube-chroma/chroma-<version>``. Needs nothing but Python's
standard library and uv. ``python servers.py [VERSION…]`` only builds the environments.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import building

VERSIONS = ("0.4.24", "0.5.23", "0.6.3", "1.0.20", "1.5.9")

# numpy 2 removed names that 0.4 and 0.5 use; the wheels of hnswlib end at CPython 3.12.
REQUIREMENTS_0X = ("numpy<2",)
PYTHON = ">=3.10,<3.13"

# The program `chroma` of 1.x, without its import of all of chromadb, which takes longer than the server's start.
RUN = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(sys.argv[1:])"


@dataclass(frozen=True)
class Server:
    """A running server: its release, base URL, process id, data directory and log file."""

    version: str
    url: str
    pid: int
    data: Path
    log: Path


def environment(version: str) -> Path:
    """Return the virtual environment of a Chroma release, and build it first where it is absent.

    Args:
        version: release of the ``chromadb`` package, for example ``1.5.9``.

    Returns:
        The directory of the environment. It appears whole or not at all: it is built beside and renamed.
    """
    target = building.cache() / f"chroma-{version}"
    with building.missing(target) as missing:
        if missing:
            build(version, target)
    return target


def build(version: str, target: Path) -> None:
    """Build the virtual environment of a release beside ``target``, and give it that name."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise RuntimeError("uv is needed to build the test servers; install it with: pip install uv")
    print(f"building Chroma {version} in {target}", file=sys.stderr, flush=True)
    requirements = [f"chromadb=={version}", *(REQUIREMENTS_0X if version.startswith("0.") else ())]
    with tempfile.TemporaryDirectory(prefix=f".chroma-{version}-", dir=target.parent) as scratch:
        built = Path(scratch) / "venv"
        subprocess.run([uv, "venv", "--quiet", "--relocatable", "--python", PYTHON, str(built)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(built / "bin" / "python"), *requirements], check=True)
        built.rename(target)


def command(version: str, data: Path, port: int) -> list[str]:
    """Return the command line that serves ``data`` on 127.0.0.1:``port``, as the role ``server`` starts it in the pod."""
    binaries = environment(version) / "bin"
    if version.startswith("0."):
        uvicorn = ["-m", "uvicorn", "chromadb.app:app", "--workers", "1", "--proxy-headers", "--timeout-keep-alive", "30"]
        return [str(binaries / "python"), *uvicorn, "--host", "127.0.0.1", "--port", str(port)]
    return [str(binaries / "python"), "-c", RUN, "chroma", "run", "--path", str(data), "--host", "127.0.0.1", "--port", str(port)]


def settings(version: str, data: Path, token: str | None = None) -> dict[str, str]:
    """Return the environment variables of a server; ``token`` turns on the authentication that 0.x has of its own."""
    values = {"ANONYMIZED_TELEMETRY": "FALSE"}
    if version.startswith("0."):
        values |= {"IS_PERSISTENT": "TRUE", "PERSIST_DIRECTORY": str(data), "ALLOW_RESET": "TRUE"}
    if token is not None and version.startswith("0.4."):
        values |= {
            "CHROMA_SERVER_AUTH_PROVIDER": "chromadb.auth.token.TokenAuthServerProvider",
            "CHROMA_SERVER_AUTH_CREDENTIALS_PROVIDER": "chromadb.auth.token.TokenConfigServerAuthCredentialsProvider",
            "CHROMA_SERVER_AUTH_CREDENTIALS": token,
            "CHROMA_SERVER_AUTH_TOKEN_TRANSPORT_HEADER": "X_CHROMA_TOKEN",
        }
    elif token is not None and version.startswith("0."):
        values |= {
            "CHROMA_SERVER_AUTHN_PROVIDER": "chromadb.auth.token_authn.TokenAuthenticationServerProvider",
            "CHROMA_SERVER_AUTHN_CREDENTIALS": token,
            "CHROMA_AUTH_TOKEN_TRANSPORT_HEADER": "X-Chroma-Token",
        }
    elif token is not None:
        raise ValueError(f"Chroma {version} has no authentication of its own")
    return values


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free a moment ago, and that neither the kernel nor another worker of pytest gives away."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
    while True:
        port = 12_000 + 3_500 * worker + secrets.randbelow(3_500)  # below Kubernetes' NodePorts and the ephemeral ones
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def answers(port: int, path: str, timeout: float = 2.0) -> bool:
    """Return whether ``GET path`` on 127.0.0.1:``port`` answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def until_answers(port: int, path: str, process: subprocess.Popen[bytes], wait: float) -> bool:
    """Wait at most ``wait`` seconds until ``GET path`` answers 200; return False where it does not, or the process ended."""
    deadline = time.monotonic() + wait
    while process.poll() is None and time.monotonic() < deadline:
        if answers(port, path):
            return True
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def running(
    version: str,
    *,
    token: str | None = None,
    data: Path | None = None,
    variables: Mapping[str, str] | None = None,
    wait: float = 90.0,
) -> Iterator[Server]:
    """Serve a data directory with one release of Chroma for the length of a ``with`` block.

    Args:
        version: one of :data:`VERSIONS`, or any other release.
        token: makes a 0.x server demand it in ``X-Chroma-Token``; refused for 1.x, which cannot.
        data: directory to serve, kept afterwards; a temporary one, removed afterwards, where absent.
        variables: more environment variables.
        wait: seconds until the heartbeat has to answer.
    """
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chroma-server-", ignore_cleanup_errors=True)))
        served = data or scratch / "data"
        served.mkdir(exist_ok=True)
        log = scratch / "server.log"
        environ = {**os.environ, **settings(version, served, token), **(variables or {})}
        port, process = _start(version, served, environ, log, wait)
        stack.callback(stop, process)
        yield Server(version, f"http://127.0.0.1:{port}", process.pid, served, log)


def stop(process: subprocess.Popen[bytes], grace: float = 15.0) -> None:
    """End a server that :func:`running` started: SIGTERM, and SIGKILL after ``grace`` seconds."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(version: str, data: Path, environ: Mapping[str, str], log: Path, wait: float) -> tuple[int, subprocess.Popen[bytes]]:
    heartbeat = "/api/v1/heartbeat" if version.startswith("0.") else "/api/v2/heartbeat"
    for attempt in range(3):
        port = free_port()
        with log.open("wb") as output:
            # The working directory is the scratch one: 0.x reads a .env from it.
            process = subprocess.Popen(
                command(version, data, port), env=dict(environ), cwd=log.parent, stdout=output, stderr=subprocess.STDOUT
            )
        if until_answers(port, heartbeat, process, wait):
            return port, process
        exited = process.poll() is not None
        stop(process)
        if not (exited and attempt < 2 and re.search(rb"in use|is not available", log.read_bytes())):
            break
    raise RuntimeError(
        f"Chroma {version} did not answer within {wait:.0f} s; its log ends with:\n{log.read_text(errors='replace')[-2000:]}"
    )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or VERSIONS:
        print(environment(wanted))
