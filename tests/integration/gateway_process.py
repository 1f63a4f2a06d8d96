# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway as a plain process on loopback, from the same template and script as in the pod.

Where the caller is root it runs as ``nobody``, because in the pod it is not root either.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from ansible_collections.thinkube.chroma.tests.integration import servers
from ansible_collections.thinkube.chroma.tests.waiting import until

ROLE = Path(__file__).resolve().parents[2] / "roles" / "server"
ADMIN = "admin-5up3r$ecret"
NOBODY = 65534


@dataclass(frozen=True)
class Response:
    """An answer: its status, its headers with lower-case names, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the decoded JSON body."""
        return json.loads(self.body)


@dataclass
class Gateway:
    """A running gateway; ``log`` holds what its container would print on stdout and stderr."""

    port: int
    process: subprocess.Popen[bytes]
    directory: Path
    log: Path
    generations: int = field(default=0)

    @property
    def work(self) -> Path:
        """The directory that the gateway may write to."""
        return self.directory / "work"

    def write_secret(self, values: Mapping[str, str | bytes]) -> None:
        """Replace the mounted Secret at once, the way kubelet does: a new directory, and ``..data`` renamed onto it."""
        self.generations += 1
        _write_secret(self.directory / "secret", values, self.generations)

    def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Response:
        """Send one request on a connection of its own; the path goes out exactly as given, ``body`` as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["X-Chroma-Token"] = token
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def raw(self, data: bytes, quiet: float = 1.0) -> bytes:
        """Send bytes, and return what comes back until the gateway closes the connection or says nothing more for ``quiet`` seconds.

        The sending side stays open: nginx gives a request up when its client does.
        """
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            connection.sendall(data)
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while part := connection.recv(65536):
                    answer += part
                    connection.settimeout(quiet)
        return answer

    def log_lines(self, count: int) -> list[dict[str, Any]]:
        """Return ``count`` lines of the log, decoded. nginx writes a line after the answer has gone, each worker in its own time."""
        until(lambda: self.log.read_bytes().count(b"\n") >= count, f"{count} lines in the log")
        return [json.loads(line) for line in self.log.read_bytes().decode("ascii").splitlines()[:count]]

    def wait_for_log(self, message: str) -> None:
        """Return as soon as the log contains ``message``."""
        until(lambda: message in self.log.read_text(), f"{message!r} in the log")

    def processes(self) -> list[int]:
        """Return the ids of the gateway's processes: the shell, nginx's master and workers, the watcher."""
        found = [self.process.pid]
        for parent in found:
            with contextlib.suppress(FileNotFoundError):
                found += [int(p) for t in Path(f"/proc/{parent}/task").iterdir() for p in (t / "children").read_text().split()]
        return found


def configuration(port: int, server_port: int, body_size: str, proxy_timeout: int) -> str:
    """Return the role's nginx.conf, with the two ``listen`` lines narrowed to loopback."""
    source = (ROLE / "templates" / "gateway" / "nginx.conf.j2").read_text()
    template = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(source)
    text = template.render(chroma_port=port, chroma_server_port=server_port, chroma_body_size=body_size, chroma_proxy_timeout=proxy_timeout)
    narrowed = text.replace(f"listen {port};", f"listen 127.0.0.1:{port};").replace("listen [::]:", "listen [::1]:")
    if text == narrowed:
        raise AssertionError("the template's listen lines are not where they were")
    return narrowed


@contextlib.contextmanager
def running(
    server_port: int,
    secret: Mapping[str, str | bytes] | None = None,
    *,
    body_size: str = "100m",
    proxy_timeout: int = 600,
    interval: float = 0.2,
    shell: str = "sh",
) -> Iterator[Gateway]:
    """Run the gateway in front of 127.0.0.1:``server_port`` for the length of a ``with`` block.

    Args:
        server_port: where Chroma, or what plays it, listens.
        secret: keys and values of the mounted Secret; only the administrator's token where absent.
        body_size: ``chroma_body_size``, in nginx's notation.
        proxy_timeout: ``chroma_proxy_timeout``, seconds.
        interval: seconds between two looks at the Secret.
        shell: what runs the script.
    """
    user = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="chroma-gateway-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch)
        directory.chmod(0o755)
        port = servers.free_port()
        (directory / "nginx.conf").write_text(configuration(port, server_port, body_size, proxy_timeout))
        shutil.copy(ROLE / "files" / "gateway.sh", directory)
        (directory / "work").mkdir()
        (directory / "secret").mkdir()
        log = directory / "log"
        log.touch()
        if user is not None:
            os.chown(directory / "work", user, user)
            os.chown(log, user, user)
        _write_secret(directory / "secret", {"auth-token": ADMIN} if secret is None else secret, 0)
        environ = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CHROMA_GATEWAY_SECRETS": str(directory / "secret"),
            "CHROMA_GATEWAY_CONFIG": str(directory / "nginx.conf"),
            "CHROMA_GATEWAY_WORK": str(directory / "work"),
            "CHROMA_GATEWAY_INTERVAL": str(interval),
        }
        with log.open("ab") as output:
            process = subprocess.Popen(
                [shell, str(directory / "gateway.sh")],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        gateway = Gateway(port, process, directory, log)
        try:
            until(lambda: process.poll() is not None or servers.answers(port, "/gateway/healthz"), "the gateway's health")
            if process.poll() is not None:
                raise AssertionError(f"the gateway ended with {process.returncode}: {log.read_text()}")
            yield gateway
        finally:
            stop(gateway)


def stop(gateway: Gateway) -> int:
    """End a gateway as kubelet does, with SIGTERM; return its exit code."""
    if gateway.process.poll() is None:
        left = gateway.processes()
        gateway.process.send_signal(signal.SIGTERM)
        try:
            gateway.process.wait(15)
        except subprocess.TimeoutExpired:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            gateway.process.wait()
    return gateway.process.returncode


def _write_secret(mount: Path, values: Mapping[str, str | bytes], generation: int) -> None:
    target = mount / f"..generation_{generation}"
    target.mkdir()
    for key, value in values.items():
        (target / key).write_bytes(value.encode() if isinstance(value, str) else value)
        (target / key).chmod(0o644)
    link = mount / "..data_tmp"
    link.symlink_to(target.name)
    link.rename(mount / "..data")
    for entry in mount.iterdir():
        if not entry.name.startswith("..") and entry.name not in values:
            entry.unlink()
    for key in values:
        if not (mount / key).is_symlink():
            (mount / key).symlink_to(f"..data/{key}")
    for old in mount.glob("..generation_*"):
        if old != target:
            shutil.rmtree(old)
