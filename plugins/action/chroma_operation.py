# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the Job of an operation and follow it: the terminal is here, the cluster is asked by the module of this name.

The module runs on the host of the play, over whatever connection that has; this plugin sees the terminal of the person who waits.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from types import SimpleNamespace

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.thinkube.chroma.plugins.module_utils._operation_follow import Followed, begin, follow, named
from ansible_collections.thinkube.chroma.plugins.module_utils._operation_terminal import Reporter

MODULE = "thinkube.chroma.chroma_operation"
# Set when Ansible's main process loads this file; the process of a task, forked from it, has no terminal any more.
TTY = sys.stdout.isatty()
TERMINAL = os.dup(1)

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
        limits = {name: float(options[name]) for name in ("start_timeout", "reconnect_timeout") if name in options}
        job = options["job"]["metadata"]["name"] if started else options.get("follow", "")
        followed = Followed(job, options.get("namespace", "chroma"), **limits)
        # From the request on that creates it, and not only from its answer.
        with announced(followed.perhaps if started and not self._task.check_mode else "") as announcement:
            reply = begin(lambda: self._ask(options, task_vars), followed) if started else self._ask(options, task_vars)
            result.update(reply)
            if reply.get("failed") or reply.get("unreachable") or (started and self._task.check_mode):
                return result
            announcement.text = f"{followed.job} goes on. To follow it again: {followed.again}"
            result.pop("look", None)
            result["job"] = followed.job
            result.update(self._follow(options, followed, started, task_vars))
        return result

    def _follow(self, options, followed, started, task_vars):
        reporter = Reporter(write, TTY, display.columns)
        reporter.line(f"{'Started' if started else 'Following'} {followed.job}. Ctrl-C leaves it running.")
        reporter.line(f"To follow it again: {followed.again}")
        options.pop("job", None)

        def ask(cursor, seconds):
            return self._ask({**options, "follow": followed.job, "cursor": cursor, "seconds": seconds}, task_vars)

        # What the operation says of itself counts; one that said nothing may have changed what it likes.
        return {"changed": started, **follow(ask, followed, reporter)}

    def _ask(self, options, task_vars):
        try:
            return self._execute_module(module_name=MODULE, module_args=options, task_vars=task_vars)
        except AnsibleConnectionFailure as error:
            return {"unreachable": True, "msg": str(error)}


def write(text, ends):
    """Write on the terminal of Ansible's main process; a bar goes into no log file."""
    display.display(text, newline=ends, screen_only=not ends)


@contextmanager
def announced(text):
    """Say a text when the task is interrupted, before it ends as it would; what is yielded holds it as ``text``, empty for none."""
    announcement = SimpleNamespace(text=text)
    before = {}

    def handler(number, _frame):
        for each, old in before.items():
            signal.signal(each, old)
        # Not through Ansible's queue: what the signal interrupted may hold its lock, and the main process is about to leave.
        if announcement.text:
            os.write(TERMINAL, f"\n{announcement.text}\n".encode())
        os.kill(os.getpid(), number)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handler)
    try:
        yield announcement
    finally:
        for number, old in before.items():
            signal.signal(number, old)
