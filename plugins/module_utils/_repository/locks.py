# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The locks that restic keeps in a repository, and which of them nobody holds any more. FOR INTERNAL COLLECTION USE ONLY.

restic itself takes a lock for dead when it is 30 minutes old, which its owner renews every 5, or when no process of its number is on the
same host. A pod that was killed leaves one that no other pod could judge, and a container that starts again gives the number to
another process; so that is looked at here. A lock has the time of the clock, which may be set forward while its owner works: where that one
can be looked for, the lock's age says nothing.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Session
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.place import Place
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import parse_time

# Says whether nothing of a host, named as its hostname, runs any more; False also where nobody knows.
Gone = Callable[[str], bool]

# Seconds (StaleLockTimeout in restic's internal/restic/lock.go).
STALE_AFTER = 30 * 60
_LONGEST = 1 << 16
# Names of our Jobs begin with chroma-; the controller appends five of these characters (k8s.io/apimachinery/pkg/util/rand).
_POD = re.compile(r"chroma-[a-z0-9-]*[a-z0-9]-[bcdfghjklmnpqrstvwxz2456789]{5}")


@dataclass(frozen=True)
class RepositoryLock:
    """A lock.

    Args:
        id: of the file, 64 hexadecimal digits.
        time: of its last renewal, by the clock of its host; UTC.
        exclusive: whether nobody else may be in the repository.
        hostname, pid, username: whose it is.
    """

    id: str
    time: datetime
    exclusive: bool
    hostname: str
    pid: int
    username: str


def read_locks(restic: Restic) -> tuple[RepositoryLock, ...]:
    """Return the locks that are in a repository; those that went meanwhile are left out."""
    ids: list[str] = []
    outcome = restic.run("list", "locks", "--no-lock", on_line=lambda line: ids.append(line.strip()))
    if outcome.code:
        raise restic.fault("Could not list the locks of", outcome)
    found = []
    for each in ids:
        content, outcome = restic.read(_LONGEST, "cat", "lock", each, "--no-lock")
        if not outcome.code:
            found.append(_parse(each, content))
    return tuple(found)


def dead_locks(
    locks: Sequence[RepositoryLock], now: datetime, hostname: str, runs: Callable[[RepositoryLock], bool | None], gone: Gone
) -> tuple[RepositoryLock, ...]:
    """Return the locks that provably nobody holds.

    Args:
        locks: of the repository.
        now: UTC.
        hostname: of this host.
        runs: says of a lock of this host whether its process is there; None where nobody knows.
        gone: says it of other hosts.
    """

    def is_dead(lock: RepositoryLock) -> bool:
        here = lock.hostname == hostname
        there = runs(lock) if here else None
        if there is not None:
            return not there
        return (now - lock.time).total_seconds() > STALE_AFTER or (not here and gone(lock.hostname))

    return tuple(each for each in locks if is_dead(each))


def remove_dead_locks(restic: Restic, place: Place, gone: Gone) -> tuple[RepositoryLock, ...]:
    """Remove the locks that provably nobody holds, and return them."""
    dead = dead_locks(read_locks(restic), datetime.now(UTC), socket.gethostname(), process_runs, gone)
    for each in dead:
        place.remove(f"locks/{each.id}")
    return dead


def process_runs(lock: RepositoryLock, proc: Path = Path("/proc")) -> bool | None:
    """Return whether the process that took a lock of this host is there: one of its number that is restic; None where nobody knows.

    It may be another restic, which began after the lock was taken: only the clock could tell. Then the lock counts until that one ends.

    Source: proc(5), ``stat``.
    """
    try:
        name, _bracket, rest = (proc / str(lock.pid) / "stat").read_text().rpartition(")")
    except (OSError, ValueError):
        return None if not proc.is_dir() or (proc / str(lock.pid)).exists() else False
    return "restic" in name and rest.split()[0] not in ("Z", "X")


def describe(locks: Sequence[RepositoryLock]) -> str:
    """Return who holds locks, for a message."""
    return "; ".join(f"process {each.pid} of {each.username} on {each.hostname}, since {each.time:%Y-%m-%d %H:%M:%S} UTC" for each in locks)


def pods_gone(session: Session, namespace: str, shared: bool) -> Gone:
    """Return a function that says of a pod of one of our Jobs, by its name, which is its hostname, whether it has ended or is absent.

    A lock names its owner by the hostname of the system, and nothing of ours could stand in for that (restic's internal/restic/lock.go).
    So a name that no pod here has may be that of one at work in another namespace, where Jobs have such names too. The directory of a
    claim is of one namespace, and nobody else works in it; of an object store nobody knows that.

    Args:
        shared: whether other namespaces may reach the repository; then a pod that is absent counts as one that may be at work.
    """

    def gone(hostname: str) -> bool:
        if not _POD.fullmatch(hostname):
            return False
        # A right to list is what operations have; one to read a single pod is another.
        pods = session.items("Pod", namespace, fieldSelector=f"metadata.name={hostname}")
        if not pods:
            return not shared
        return all((each.get("status") or {}).get("phase") in ("Succeeded", "Failed") for each in pods)

    return gone


def _parse(each: str, content: bytes) -> RepositoryLock:
    document = json.loads(content)
    return RepositoryLock(
        id=each,
        time=parse_time(document["time"]),
        exclusive=bool(document.get("exclusive")),
        hostname=document.get("hostname", ""),
        pid=int(document.get("pid", 0)),
        username=document.get("username", ""),
    )
