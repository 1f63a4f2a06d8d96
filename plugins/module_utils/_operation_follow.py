# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow the Job of an operation until it ends, and say what came of it. FOR INTERNAL COLLECTION USE ONLY.

The controller's side: it asks, look by look, and does not know over which connection.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object
from ansible_collections.thinkube.chroma.plugins.module_utils._operation import COMPLETED, FAILED, OK, Event, exit_code, meaning

Result = dict[str, Any]

# What a cluster that is busy, restarting or out of reach answers.
PASSING = ("cluster_unreachable", "cluster_timeout", "cluster_error")
# Of them, those that leave open whether the cluster did what it was asked.
LOST = ("cluster_unreachable", "cluster_timeout")
# Seconds until a creation without an answer is asked for again.
PAUSE = 2.0
# Of the names that Kubernetes generates: no vowels, so no words.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True)
class Followed:
    """A Job, and how long to be patient with it.

    Attributes:
        job, namespace: the Job.
        start_timeout: seconds until its first pod must run.
        reconnect_timeout: seconds that the cluster may be away.
    """

    job: str
    namespace: str
    start_timeout: float = 300
    reconnect_timeout: float = 300

    @property
    def again(self) -> str:
        """Say how to follow it again."""
        return f"the same playbook with -e chroma_operation_follow={self.job}, or `kubectl logs -n {self.namespace} -f job/{self.job}`"

    @property
    def perhaps(self) -> str:
        """Say how to find it where nobody knows whether it was created."""
        return f"If {self.job} was started all the same, it goes on by itself. To follow it again: {self.again}."


class Shown(Protocol):
    """Where a person sees it, see ``_operation_terminal.Reporter``."""

    def show(self, seen: Mapping[str, Any]) -> None:
        """Show one look."""

    def line(self, text: str) -> None:
        """Write a line."""

    def close(self) -> None:
        """Write nothing more."""


def named(job: Object) -> Object:
    """Return a Job whose generated name is settled, so that asking twice for it creates it once."""
    metadata = dict(job["metadata"])
    prefix = metadata.pop("generateName", "")
    if prefix:
        metadata["name"] = prefix + "".join(secrets.choice(ALPHABET) for _each in range(5))
    return {**job, "metadata": metadata}


def begin(ask: Callable[[], Result], followed: Followed) -> Result:
    """Ask for a Job's creation, once more where the answer is lost.

    Args:
        ask: asks for the creation of a Job with this very name, which asking twice creates once; returns the module's result.
        followed: the Job.

    Returns:
        The module's result; a failure that leaves open whether the Job is there says how to find it.
    """

    def lost(reply: Result) -> bool:
        return bool(reply.get("unreachable")) or reply.get("code") in LOST

    reply = ask()
    if lost(reply):
        time.sleep(PAUSE)
        reply = ask()
    if lost(reply):
        reply = {**reply, "hint": followed.perhaps, "msg": f"{reply.get('msg', '')} {followed.perhaps}".strip()}
    return reply


def follow(ask: Callable[[dict[str, Any], float], Result], followed: Followed, shown: Shown) -> Result:
    """Follow a Job until it ends.

    Args:
        ask: takes cursor and seconds to collect; returns the module's result: ``look``, or a failure, or ``unreachable``.
        followed: the Job.
        shown: where its events are shown.

    Returns:
        What a task returns of it: ``rc``, ``meaning``, ``result`` …, or a failure with ``msg``, ``code`` and ``hint``.
    """
    began = answered = time.monotonic()
    cursor: dict[str, Any] = {}
    documents: dict[str, Any] = {}
    errors: dict[str, Event] = {}
    quiet = False
    while True:
        # Oftener at first, for who waits for a first sign; each look costs the controller some tenths of a second, and the end ends it.
        seconds = min(5.0, 2.5 + (time.monotonic() - began) / 30)
        reply = ask(cursor, seconds)
        now = time.monotonic()
        if reply.get("unreachable") or reply.get("code") in PASSING:
            if now - answered > followed.reconnect_timeout:
                shown.close()
                hint = f"It goes on by itself. To follow it again: {followed.again}."
                return {**reply, "failed": True, "hint": hint, "msg": f"{reply.get('msg', '')} {hint}".strip()}
            if not quiet:
                shown.line(f"no answer from the cluster, trying again; the operation goes on ({reply.get('msg', '')})")
            quiet = True
            time.sleep(seconds)
            continue
        if reply.get("failed"):
            shown.close()
            return reply
        seen = reply["look"]
        answered, quiet, cursor = now, False, seen["cursor"]
        shown.show(seen)
        for event in seen["events"]:
            if event["event"] == "result":
                documents[event["pod"]] = event["result"]
            elif event["event"] == "error":
                errors.pop(event["pod"], None)
                errors[event["pod"]] = event
        if seen["status"] in ("succeeded", "failed"):
            shown.close()
            return conclude(followed, seen, documents, errors)
        if seen["status"] == "waiting" and now - began > followed.start_timeout:
            shown.close()
            return not_started(followed, seen)


def not_started(followed: Followed, seen: Mapping[str, Any]) -> Result:
    """Return the failure of a Job of which no pod started."""
    trouble = "; ".join(attempt["trouble"] for attempt in seen["attempts"] if attempt["trouble"]) or "Kubernetes made no pod of it"
    hint = (
        f"It begins as soon as it can. To follow it again: {followed.again}. "
        f"`kubectl delete job -n {followed.namespace} {followed.job}` gives it up."
    )
    return {"failed": True, "code": "not_started", "hint": hint, "msg": f"{followed.job} has not started: {trouble}. {hint}"}


def conclude(followed: Followed, seen: Mapping[str, Any], documents: Mapping[str, Any], errors: Mapping[str, Event]) -> Result:
    """Return what came of a Job that ended.

    Args:
        followed: the Job.
        seen: the last look.
        documents: result documents from the logs, by pod; what a pod left as its termination message takes their place.
        errors: the last error that each pod told, by pod; the last one told last.

    Returns:
        ``changed`` is there where the operation says whether anything did: any of its parts.
    """
    last = {attempt["index"]: attempt for attempt in seen["attempts"]}
    results: list[Any] = []
    error: Event = {}
    for _index, attempt in sorted(last.items()):
        left = attempt["result"] or {}
        document = documents.get(attempt["pod"], left.get("result"))
        # A part that succeeded in the end is not why the others failed.
        if attempt["exit_code"] != OK:
            error = error or errors.get(attempt["pod"]) or left.get("error") or {}
        if document is not None:
            results.append(document)
    code = seen["exit_code"]
    ended = {
        "operation": seen["operation"],
        "attempts": seen["attempts"],
        "rc": code,
        "meaning": meaning(code),
        "results": results,
        **({"result": results[0], "changed": any(bool(each.get("changed")) for each in results)} if results else {}),
    }
    if code in COMPLETED:
        # Ansible takes an rc that is not 0 for a failure unless it is told otherwise.
        return {**ended, "failed": False}
    return {**ended, **_failure(followed, seen, error or (list(errors.values()) or [{}])[-1])}


def _failure(followed: Followed, seen: Mapping[str, Any], error: Event) -> Result:
    """Return the operation's own error where it gave one, and else what Kubernetes says."""
    if any(attempt["reason"] == "OOMKilled" for attempt in seen["attempts"]):
        message, code = "it needed more memory than its limit.", "out_of_memory"
        hint = "Raise chroma_operations_resources.limits.memory."
    elif error:
        message, code, hint = error.get("message", ""), error.get("code") or "operation_failed", error.get("hint") or ""
    else:
        message, code = seen["message"] or "no reason is known.", "operation_failed"
        hint = f"`kubectl describe job -n {followed.namespace} {followed.job}` says what Kubernetes did."
    rc = seen["exit_code"] if seen["exit_code"] is not None else (exit_code(code) if error else FAILED)
    msg = f"{seen['operation'] or followed.job} ended with exit code {rc} ({meaning(rc)}): {message} {hint}".strip()
    return {"failed": True, "code": code, "hint": hint, "msg": msg}
