# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: operation_events
type: stdout
short_description: Write what an operation does as numbered lines of JSON
version_added: 1.1.0
author: The thinkube.chroma contributors (@thinkube)
description:
  - Each line is one event with a counter C(n) from 1, a C(time) in UTC and its kind C(event), which is V(start), V(task),
    V(progress), V(message), V(warning), V(error), V(result) or V(end). The last one says with C(last) how many there are.
  - Progress comes from the modules while they work, as datagrams to a Unix socket whose path they find in C(CHROMA_OPERATION_SOCKET).
  - The result document is what the playbook sets as C(chroma_result) by M(ansible.builtin.set_stats). It is also written to
    C(/dev/termination-log), where that exists, shortened to 4096 bytes.
  - The exit code that belongs to the result is written to the file that C(CHROMA_OPERATION_EXIT_CODE_FILE) names.
  - What the playbook says by M(ansible.builtin.debug) becomes V(message). Arguments of modules, and results of tasks with C(no_log), are
    in no event.
requirements:
  - set as stdout callback in the configuration
"""

import json
import os
import socket
import tempfile
import threading
from datetime import UTC, datetime

from ansible.plugins.callback import CallbackBase
from ansible.release import __version__ as ansible_version

from ansible_collections.thinkube.chroma.plugins.module_utils._operation import (
    COMPLETED,
    OK,
    event_line,
    exit_code,
    meaning,
    termination_message,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import SOCKET_VARIABLE

TERMINATION_LOG = "/dev/termination-log"
# What a module may say while it works; the others are this callback's own.
FROM_MODULES = ("progress", "message", "warning", "error")

DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")


class CallbackModule(CallbackBase):
    """The one writer of an operation's events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "thinkube.chroma.operation_events"

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()
        self._n = 0
        self._error = {}
        self._socket = None
        self._folder = None
        self._thread = None

    def v2_playbook_on_start(self, playbook):
        """Open the socket for progress, and say what begins."""
        self._listen()
        name = os.path.splitext(os.path.basename(playbook._file_name))[0]
        self._emit("start", operation=name, job=os.environ.get("CHROMA_OPERATION_JOB", ""), ansible=ansible_version)

    def v2_playbook_on_task_start(self, task, is_conditional):
        """Name the task that begins."""
        self._emit("task", name=task.get_name())

    def v2_runner_on_ok(self, result):
        """Pass on what a module warns of, and what the playbook says by debug."""
        for warning in result._result.get("warnings") or []:
            self._emit("warning", message=str(warning))
        if "results" not in result._result:
            self._say(result)

    def v2_runner_item_on_ok(self, result):
        """Pass on what the playbook says by debug in a loop."""
        self._say(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Say why a task failed: message, code and hint, nothing else of its result."""
        if ignore_errors:
            self._emit("warning", **self._reason(result))
            return
        self._error = self._reason(result)
        self._emit("error", **self._error)

    def v2_runner_on_unreachable(self, result):
        """Say why a host could not be asked."""
        self._error = {**self._reason(result), "code": "unreachable"}
        self._emit("error", **self._error)

    def v2_playbook_on_stats(self, stats):
        """Write the result document, the exit code and the last event."""
        self._stop_listening()
        document = (getattr(stats, "custom", {}).get("_run") or {}).get("chroma_result")
        failed = bool(stats.failures or stats.dark)
        code = int(document.get("rc", OK)) if isinstance(document, dict) else OK
        # A playbook may fail because of its findings; those stay the reason.
        if failed and code == OK:
            code = exit_code(self._error.get("code", ""))
        if document is not None:
            self._emit("result", result=document)
        ending = {"status": "ok" if code in COMPLETED else "failed", "exit_code": code, "meaning": meaning(code)}
        if failed:
            ending["error"] = self._error
        self._write_files(code, {**ending, **({} if document is None else {"result": document})})
        self._emit("end", **ending)

    def _say(self, result):
        if result._task.action in DEBUG and not result._task.no_log and "msg" in result._result:
            said = result._result["msg"]
            for line in said if isinstance(said, list) else [said]:
                self._emit("message", message=str(line))

    def _reason(self, result):
        seen = result._result
        # With no_log, Ansible leaves the word `censored` of a result.
        if seen.get("censored") or getattr(result._task, "no_log", False):
            return {"task": result._task.get_name(), "message": "It failed; its task hides why (no_log).", "code": "", "hint": ""}
        message, hint = str(seen.get("msg", "")), str(seen.get("hint") or "")
        # A module's msg ends with its hint.
        message = message.removesuffix(hint).strip()
        return {"task": result._task.get_name(), "message": message, "code": str(seen.get("code") or ""), "hint": hint}

    def _emit(self, event, **fields):
        with self._lock:
            self._n += 1
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            if event == "end":
                fields["last"] = self._n
            line = event_line({"n": self._n, "time": now, "event": event, **fields})
            # Not through sys.stdout: a line is whole or not there, and no buffer is copied into the processes of tasks.
            while line:
                line = line[os.write(1, line) :]

    def _listen(self):
        # The path of a socket has at most 107 bytes (unix(7)), of which this takes some 35; TMPDIR may be longer.
        place = None if len(os.fsencode(tempfile.gettempdir())) <= 70 else "/tmp"
        self._folder = tempfile.TemporaryDirectory(prefix="chroma-operation-", dir=place)
        path = os.path.join(self._folder.name, "events")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        os.environ[SOCKET_VARIABLE] = path
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self):
        # An empty datagram ends it; what was sent before is received before.
        while datagram := self._socket.recv(1 << 20):
            try:
                fields = json.loads(datagram)
                event = fields.pop("event")
            except (ValueError, KeyError, AttributeError):
                event, fields = "warning", {"message": f"A module sent something that is no event: {datagram[:100]!r}"}
            if event in FROM_MODULES:
                self._emit(event, **{key: value for key, value in fields.items() if key not in ("n", "time")})

    def _stop_listening(self):
        if self._socket is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", os.environ.pop(SOCKET_VARIABLE))
        self._thread.join()
        self._socket.close()
        self._folder.cleanup()

    def _write_files(self, code, document):
        path = os.environ.get("CHROMA_OPERATION_EXIT_CODE_FILE")
        if path:
            with open(path, "w", encoding="ascii") as stream:
                stream.write(f"{code}\n")
        if os.path.exists(TERMINATION_LOG) and os.access(TERMINATION_LOG, os.W_OK):
            with open(TERMINATION_LOG, "wb") as stream:
                stream.write(termination_message(document))
