# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the Job of an operation and follow it: the loop and the terminal are here, the cluster is asked by the module of this name.

The module runs on the host of the play, over whatever connection that has; this plugin sees the terminal of the person who waits.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from contextlib import contextmanager

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.thinkube.chroma.plugins.module_utils._operation import COMPLETED, FAILED, exit_code, meaning
from ansible_collections.thinkube.chroma.plugins.module_utils._operation_terminal import Reporter

MODULE = "thinkube.chroma.chroma_operation"
# Set when Ansible's main process loads this file; the process of a task, forked from it, has no terminal any more.
TTY = sys.stdout.isatty()
TERMINAL = os.dup(1)
# What a cluster that is busy, restarting or out of reach answers.
PASSING = ("cluster_unreachable", "cluster_timeout", "cluster_error")
# Of the names that Kubernetes generates: no vowels, so no words.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

display = Display()


class ActionModule(ActionBase):
    """The controller's side of chroma_operation."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Start or follow, and return what came of it."""
        result = super().run(tmp, task_vars)
        options = dict(self._task.args)
        started = bool(options.get("job")) and not options.get("follow")
        if started:
            options["job"] = named(options["job"])
        reply = self._ask(options, task_vars)
        result.update(reply)
        if reply.get("failed") or reply.get("unreachable") or (started and self._task.check_mode):
            return result
        result.pop("look", None)
        result["job"] = job = reply["job"] if started else options["follow"]
        namespace = options.get("namespace", "chroma")
        again = f"the same playbook with -e chroma_operation_follow={job}, or `kubectl logs -n {namespace} -f job/{job}`"
        reporter = Reporter(write, TTY, display.columns)
        reporter.line(f"{'Started' if started else 'Following'} {job}. Ctrl-C leaves it running.")
        reporter.line(f"To follow it again: {again}")
        options.pop("job", None)
        with announced(f"{job} goes on. To follow it again: {again}"):
            followed = self._follow({**options, "follow": job}, task_vars, reporter, again)
        result.update(followed)
        result["changed"] = bool((followed.get("result") or {}).get("changed", started))
        return result

    def _follow(self, options, task_vars, reporter, again):
        namespace = options.get("namespace", "chroma")
        began = answered = time.monotonic()
        cursor, seen, quiet = {}, {}, False
        documents, error = {}, {}
        while seen.get("status") not in ("succeeded", "failed"):
            # Often at first, for short operations; each look costs the controller some tenths of a second.
            pause = min(5.0, 1.0 + (time.monotonic() - began) / 30)
            reply = self._ask({**options, "cursor": cursor, "seconds": pause}, task_vars)
            now = time.monotonic()
            if reply.get("unreachable") or reply.get("code") in PASSING:
                if now - answered > float(options.get("reconnect_timeout", 300)):
                    reporter.close()
                    hint = f"It goes on by itself. To follow it again: {again}."
                    return {**reply, "failed": True, "hint": hint, "msg": f"{reply.get('msg', '')} {hint}".strip()}
                if not quiet:
                    reporter.line(f"no answer from the cluster, trying again; the operation goes on ({reply.get('msg', '')})")
                quiet = True
                time.sleep(pause)
                continue
            if reply.get("failed"):
                reporter.close()
                return reply
            answered, quiet, seen = now, False, reply["look"]
            cursor = seen["cursor"]
            reporter.show(seen)
            for event in seen["events"]:
                if event["event"] == "result":
                    documents[event["pod"]] = event["result"]
                elif event["event"] == "error":
                    error = event
            if seen["status"] == "waiting" and now - began > float(options.get("start_timeout", 300)):
                reporter.close()
                return not_started(options["follow"], namespace, seen, again)
        reporter.close()
        return conclude(options["follow"], namespace, seen, documents, error)

    def _ask(self, options, task_vars):
        try:
            return self._execute_module(module_name=MODULE, module_args=options, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "msg": str(error)}


def named(job):
    """Return a Job whose generated name is settled, so that asking twice for it creates it once."""
    metadata = dict(job["metadata"])
    prefix = metadata.pop("generateName", "")
    if prefix:
        metadata["name"] = prefix + "".join(secrets.choice(ALPHABET) for _each in range(5))
    return {**job, "metadata": metadata}


def write(text, ends):
    """Write on the terminal of Ansible's main process; a bar goes into no log file."""
    display.display(text, newline=ends, screen_only=not ends)


@contextmanager
def announced(text):
    """Say a text when the task is interrupted, before it ends as it would."""
    before = {}

    def handler(number, _frame):
        for each, old in before.items():
            signal.signal(each, old)
        # Not through Ansible's queue: what the signal interrupted may hold its lock, and the main process is about to leave.
        os.write(TERMINAL, f"\n{text}\n".encode())
        os.kill(os.getpid(), number)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def not_started(job, namespace, seen, again):
    """Return the failure of a Job of which no pod started."""
    trouble = "; ".join(attempt["trouble"] for attempt in seen["attempts"] if attempt["trouble"]) or "Kubernetes made no pod of it"
    hint = f"It begins as soon as it can. To follow it again: {again}. `kubectl delete job -n {namespace} {job}` gives it up."
    return {"failed": True, "code": "not_started", "hint": hint, "msg": f"{job} has not started: {trouble}. {hint}"}


def conclude(job, namespace, seen, documents, error):
    """Return what came of a Job that ended."""
    last = {attempt["index"]: attempt for attempt in seen["attempts"]}
    results = []
    for _index, attempt in sorted(last.items()):
        left = attempt["result"] or {}
        document = documents.get(attempt["pod"], left.get("result"))
        error = error or left.get("error") or {}
        if document is not None:
            results.append(document)
    code = seen["exit_code"]
    ended = {
        "operation": seen["operation"],
        "attempts": seen["attempts"],
        "rc": code,
        "meaning": meaning(code),
        "results": results,
        **({"result": results[0]} if results else {}),
    }
    if code in COMPLETED:
        # Ansible takes an rc that is not 0 for a failure unless it is told otherwise.
        return {**ended, "failed": False}
    return {**ended, **failure(job, namespace, seen, error)}


def failure(job, namespace, seen, error):
    """Return the arguments of a failure: the operation's own error where it gave one, and else what Kubernetes says."""
    reasons = [attempt["reason"] for attempt in seen["attempts"] if attempt["reason"] not in ("", "Error", "Completed")]
    if "OOMKilled" in reasons:
        message, code = "it needed more memory than its limit", "out_of_memory"
        hint = "Raise chroma_operations_resources.limits.memory."
    elif error:
        message, code, hint = error.get("message", ""), error.get("code") or "operation_failed", error.get("hint") or ""
    else:
        message, code = seen["message"] or "no reason is known", "operation_failed"
        hint = f"`kubectl describe job -n {namespace} {job}` says what Kubernetes did."
    rc = seen["exit_code"] if seen["exit_code"] is not None else (exit_code(code) if error else FAILED)
    msg = f"{seen['operation'] or job} ended with exit code {rc} ({meaning(rc)}): {message} {hint}".strip()
    return {"failed": True, "code": code, "hint": hint, "msg": msg}
