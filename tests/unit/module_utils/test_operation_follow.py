# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Following a Job: what a task does while it waits, and what it returns in the end."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils import _operation_follow
from ansible_collections.thinkube.chroma.plugins.module_utils._operation_follow import Followed, begin, conclude, follow, named, not_started

JOB = Followed("job", "chroma")


class Shown:
    """What a person sees."""

    def __init__(self):
        self.lines, self.looks = [], []
        self.line, self.show = self.lines.append, self.looks.append

    def close(self):
        """Nothing is left to do."""


def attempt(pod="a", index=0, exit_code=0, reason="Completed", result=None, trouble=""):
    return {"pod": pod, "index": index, "exit_code": exit_code, "reason": reason, "result": result, "trouble": trouble}


def look(status="running", exit_code=None, events=(), attempts=(), message=""):
    return {
        "status": status,
        "exit_code": exit_code,
        "events": list(events),
        "attempts": list(attempts),
        "message": message,
        "operation": "export",
        "cursor": {"a": {"n": len(events), "at": ""}},
    }


def error(message, code="", hint=""):
    return {"event": "error", "pod": "a", "message": message, "code": code, "hint": hint}


def result(document):
    return {"event": "result", "pod": "a", "result": document}


@pytest.fixture
def run(monkeypatch):
    """Return a function that follows a Job which gives one answer after the other; it returns result, cursors and what was shown."""
    monkeypatch.setattr(_operation_follow.time, "sleep", lambda _seconds: None)

    def run(*replies, **patience):
        cursors, shown, left = [], Shown(), list(replies)
        result = follow(lambda cursor, _seconds: cursors.append(cursor) or left.pop(0), Followed("job", "chroma", **patience), shown)
        return result, cursors, shown

    return run


def test_it_goes_on_from_the_cursor_until_the_job_ends(run):
    ended = look("succeeded", 0, [result({"changed": True})], [attempt()])
    followed, asked, _shown = run({"look": look(events=[error("first")])}, {"look": ended})
    assert asked == [{}, {"a": {"n": 1, "at": ""}}]
    assert (followed["rc"], followed["result"], followed["failed"]) == (0, {"changed": True}, False)


def test_a_cluster_that_is_away_for_a_while_is_asked_again(run):
    away = {"failed": True, "code": "cluster_unreachable", "msg": "away"}
    gone = {"unreachable": True, "msg": "no ssh"}
    followed, asked, shown = run(away, gone, {"look": look("succeeded", 0)})
    assert (followed["rc"], len(asked), len(shown.lines)) == (0, 3, 1)
    assert "the operation goes on" in shown.lines[0]


def test_a_cluster_that_stays_away_ends_the_waiting_and_not_the_job(run):
    away = {"failed": True, "code": "cluster_unreachable", "msg": "Away."}
    followed, _asked, _shown = run(away, reconnect_timeout=-1)
    assert followed["failed"] is True
    assert "It goes on by itself. To follow it again: the same playbook with -e chroma_operation_follow=job" in followed["msg"]


def test_another_refusal_is_told_as_it_is(run):
    refused = {"failed": True, "code": "forbidden", "msg": "No right."}
    assert run(refused)[0] == refused


def test_a_job_that_does_not_start_says_what_holds_it_up(run):
    waiting = look("waiting", attempts=[attempt(exit_code=None, trouble="no node has room")])
    followed, _asked, _shown = run({"look": waiting}, start_timeout=-1)
    assert (followed["code"], "no node has room" in followed["msg"]) == ("not_started", True)


def test_a_job_without_any_pod_says_so():
    assert "made no pod" in not_started(JOB, look("waiting"))["msg"]


@pytest.mark.parametrize(("code", "failed"), [(0, False), (2, True), (3, False), (4, False), (5, True), (6, True), (7, True), (137, True)])
def test_findings_fail_no_task(code, failed):
    ended = conclude(JOB, look("failed" if code else "succeeded", code, attempts=[attempt(exit_code=code)]), {}, {})
    assert (ended["rc"], ended.get("failed", False)) == (code, failed)


def test_the_last_error_of_the_operation_is_the_error_of_the_task():
    ended = conclude(JOB, look("failed", 5), {}, {"a": error("No such bucket.", "no_bucket", "Create it.")})
    assert (ended["code"], ended["hint"]) == ("no_bucket", "Create it.")
    assert ended["msg"] == "export ended with exit code 5 (bad input): No such bucket. Create it."


def test_an_error_that_only_the_pod_left_is_found():
    left = {"exit_code": 2, "error": {"message": "Broken.", "code": "x", "hint": ""}}
    assert "Broken." in conclude(JOB, look("failed", 2, attempts=[attempt(exit_code=2, result=left)]), {}, {})["msg"]


def test_what_kubernetes_says_where_the_operation_said_nothing():
    ended = conclude(JOB, look("failed", None, message="Job was active longer than specified deadline"), {}, {})
    assert "longer than specified deadline" in ended["msg"]
    assert "kubectl describe job -n chroma job" in ended["hint"]


def test_too_little_memory_is_named():
    ended = conclude(JOB, look("failed", 137, attempts=[attempt(exit_code=137, reason="OOMKilled")]), {}, {"a": error("whatever")})
    assert (ended["code"], "chroma_operations_resources" in ended["hint"]) == ("out_of_memory", True)


def test_each_part_has_its_result_and_the_last_attempt_of_a_part_counts():
    attempts = [attempt("a", 1, 7), attempt("b", 0), attempt("c", 1, result={"result": {"part": 1}})]
    ended = conclude(JOB, look("succeeded", 0, attempts=attempts), {"a": {"part": "half"}, "b": {"part": 0}}, {})
    assert (ended["results"], ended["result"]) == ([{"part": 0}, {"part": 1}], {"part": 0})


def test_a_part_that_succeeded_in_the_end_is_not_why_another_failed():
    attempts = [attempt("a", 0, 7), attempt("b", 1, 5), attempt("c", 0)]
    errors = {"b": error("No such bucket.", "no_bucket"), "a": error("Away.", "unreachable")}
    assert conclude(JOB, look("failed", 5, attempts=attempts), {}, errors)["code"] == "no_bucket"


@pytest.mark.parametrize("changed", [[False, False], [False, True], [True, False]])
def test_it_changed_something_where_any_part_did(changed):
    attempts = [attempt("a", 0), attempt("b", 1)]
    documents = {pod: {"changed": each} for pod, each in zip("ab", changed, strict=True)}
    assert conclude(JOB, look("succeeded", 0, attempts=attempts), documents, {})["changed"] is any(changed)


def test_one_that_only_reads_changed_nothing_and_one_that_said_nothing_says_not_so_either():
    assert conclude(JOB, look("succeeded", 0, attempts=[attempt()]), {"a": {"rc": 0}}, {})["changed"] is False
    assert "changed" not in conclude(JOB, look("failed", 137, attempts=[attempt(exit_code=137)]), {}, {})


LOST = {"failed": True, "code": "cluster_timeout", "msg": "No answer."}
NO_SSH = {"unreachable": True, "msg": "no ssh"}
STARTED = {"changed": True, "job": "job"}
REFUSED = {"failed": True, "code": "forbidden", "msg": "No right."}


@pytest.mark.parametrize(
    ("replies", "answer"),
    [([STARTED], STARTED), ([LOST, STARTED], STARTED), ([NO_SSH, STARTED], STARTED), ([REFUSED], REFUSED), ([LOST, REFUSED], REFUSED)],
)
def test_a_creation_whose_answer_is_lost_is_asked_for_once_more(monkeypatch, replies, answer):
    monkeypatch.setattr(_operation_follow.time, "sleep", lambda _seconds: None)
    left = list(replies)
    assert begin(lambda: left.pop(0), JOB) == answer
    assert left == []


@pytest.mark.parametrize("lost", [LOST, NO_SSH])
def test_where_it_stays_open_whether_a_job_was_created_the_job_is_named(monkeypatch, lost):
    monkeypatch.setattr(_operation_follow.time, "sleep", lambda _seconds: None)
    asked = []
    reply = begin(lambda: asked.append(1) or lost, JOB)
    assert len(asked) == 2
    assert "If job was started all the same, it goes on by itself." in reply["msg"]
    assert "-e chroma_operation_follow=job" in reply["hint"]


def test_a_generated_name_is_settled_once():
    job = {"metadata": {"generateName": "chroma-export-", "labels": {}}, "spec": {}}
    first, second = named(job), named(job)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["metadata"]["name"].startswith("chroma-export-")
    assert "generateName" not in first["metadata"]
    assert named(first) == first
