# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deltas while the object store, the network or the process fails: nothing that is not proven is ever called a delta."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import embedding
import interference
import object_store
import pytest
import servers

NEWEST = servers.VERSIONS[-1]
UPLOAD = """
try:
    delta = Delta(path=arguments["path"], settings=settings, backoff=0.05)
    print(json.dumps(delta.upload(arguments.get("bucket", "chroma"), "deltas/books", arguments.get("attempts", 3)).as_result()))
except ChromaError as error:
    print(json.dumps({**error.as_result(), "failed": True}))
"""
DELTA = re.compile(r"/deltas/books/(\d{8}T\d{6}Z-[0-9a-f]{6})/")


@pytest.fixture(scope="module")
def s3() -> Iterator[object_store.ObjectStore]:
    with object_store.running() as store:
        yield store


@pytest.fixture(scope="module")
def directory(s3: object_store.ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedded") / "db"
    embedding.run(NEWEST, "client = opened()\nbooks = filled(client)\nprint(0)", path, s3)
    return path


@pytest.fixture(autouse=True)
def no_deltas(s3: object_store.ObjectStore) -> None:
    shutil.rmtree(s3.root / s3.bucket / "deltas", ignore_errors=True)


def names(store: object_store.ObjectStore) -> list[str]:
    """Return the objects below ``deltas/books/``."""
    top = store.root / store.bucket / "deltas" / "books"
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


def check_one_delta(store: object_store.ObjectStore, directory: Path, prefix: str) -> None:
    """Fail unless there is one delta with the very bytes of the directory, and nothing else."""
    files = {str(each.relative_to(directory)): each.read_bytes() for each in directory.rglob("*") if each.is_file()}
    name = prefix.rpartition("/")[2]
    assert names(store) == sorted(f"{name}/{each}" for each in [*files, "delta.json"])
    assert {each: (store.root / store.bucket / prefix / each).read_bytes() for each in files} == files


class FirstAttempt:
    """A fault of the first attempt only, at requests that a pattern names."""

    def __init__(self, method: str, pattern: str, act: Callable[[str, str], int | str | None]) -> None:
        self.method, self.pattern, self.act = method, re.compile(pattern), act
        self.first = ""
        self.hits = 0

    def __call__(self, method: str, path: str, _number: int) -> int | str | None:
        found = DELTA.search(path)
        if found is None:
            return None
        self.first = self.first or found[1]
        if found[1] != self.first or method not in self.method.split() or not self.pattern.search(path):
            return None
        self.hits += 1
        return self.act(path, found[1])


def on_disk(store: object_store.ObjectStore, change: Callable[[Path], Any]) -> Callable[[str, str], None]:
    """Return what changes the object in the store's folder once, when it is asked for."""
    done: set[str] = set()

    def act(path: str, _name: str) -> None:
        key = path.partition("?")[0].lstrip("/")
        if key not in done:
            done.add(key)
            change(store.root / key)

    return act


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FAULTS: dict[str, Callable[[object_store.ObjectStore], FirstAttempt]] = {
    "it answers 500": lambda s3: FirstAttempt("PUT POST", r"data_level0\.bin", lambda _path, _name: 500),
    "it hangs": lambda s3: FirstAttempt("PUT POST", r"chroma\.sqlite3", lambda _path, _name: "hang"),
    "an upload is cut": lambda s3: FirstAttempt("PUT POST", r"chroma\.sqlite3", lambda _path, _name: "cut"),
    "a bit is flipped on the way there": lambda s3: FirstAttempt("PUT", r"chroma\.sqlite3", lambda _path, _name: "flip"),
    "a bit is flipped where it lies": lambda s3: FirstAttempt("GET", r"data_level0\.bin", on_disk(s3, flip)),
    "an object is cut where it lies": lambda s3: FirstAttempt(
        "GET", r"link_lists\.bin|length\.bin", on_disk(s3, lambda it: os.truncate(it, 4))
    ),
    "an object is lost": lambda s3: FirstAttempt("GET", r"data_level0\.bin", on_disk(s3, Path.unlink)),
    "the download answers 500": lambda s3: FirstAttempt("GET", r"chroma\.sqlite3", lambda _path, _name: 500),
    "the manifest is refused": lambda s3: FirstAttempt("PUT", r"delta\.json($|\?)", lambda _path, _name: 500),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_once_is_removed_and_done_again(fault, s3, directory):
    decide = FAULTS[fault](s3)
    with interference.proxy(s3.endpoint, decide) as proxy:
        said, log = embedding.run(NEWEST, UPLOAD, directory, replace(s3, endpoint=proxy.url), timeout=2.0)
    assert not said.get("failed"), (said, log)
    assert decide.hits > 0
    assert (said["attempts"], said["validated"]) == (2, NEWEST), log
    assert decide.first not in said["prefix"]
    assert "attempt 1 failed" in log
    assert "removed what failed" in log
    check_one_delta(s3, directory, said["prefix"])


@pytest.mark.parametrize(
    ("decision", "code"), [(500, "unavailable"), ("hang", "timeout"), ("flip", "invalid_delta"), ("cut", "unreachable")], ids=str
)
def test_what_fails_each_time_is_an_error_that_names_attempt_object_and_reason_and_nothing_is_left(decision, code, s3, directory):
    def decide(method: str, path: str, _number: int) -> int | str | None:
        return decision if method == "PUT" and "chroma.sqlite3" in path else None

    with interference.proxy(s3.endpoint, decide) as proxy:
        said, log = embedding.run(NEWEST, UPLOAD, directory, replace(s3, endpoint=proxy.url), timeout=1.0, attempts=2)
    # A store that checks what it gets answers before we look.
    assert said["code"] in (code, "store_error", "unreachable"), (said, log)
    assert "attempt 2 of 2" in said["msg"]
    assert said["hint"]
    assert [(each["attempt"], each["left"]) for each in said["attempts"]] == [(1, []), (2, [])]
    assert names(s3) == []


def test_what_cannot_be_removed_is_named_and_is_no_delta(s3, directory):
    def decide(method: str, path: str, _number: int) -> int | str | None:
        # Several are removed at once by POST ?delete, single ones by DELETE.
        if method == "DELETE" or "delete" in path.partition("?")[2]:
            return 500
        return 500 if method == "PUT" and "data_level0" in path else None

    with interference.proxy(s3.endpoint, decide) as proxy:
        said, _log = embedding.run(NEWEST, UPLOAD, directory, replace(s3, endpoint=proxy.url), timeout=1.0, attempts=2)
    assert said["failed"]
    prefixes = [each["prefix"] for each in said["attempts"]]
    assert all(prefix in said["msg"] for prefix in prefixes)
    assert all(each["left"] for each in said["attempts"])
    assert names(s3) != []
    assert not [name for name in names(s3) if name.endswith("delta.json")]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"secret_key": "wrong"}, "forbidden"), ({"access_key": "nobody"}, "forbidden"), ({"bucket": "absent"}, "no_bucket")],
    ids=["secret key", "access key", "bucket"],
)
def test_what_another_attempt_would_not_change_is_said_at_once(change, code, s3, directory):
    more = {"bucket": change["bucket"]} if "bucket" in change else {}
    said, log = embedding.run(NEWEST, UPLOAD, directory, s3 if more else replace(s3, **change), **more)
    assert (said["code"], len(said["attempts"])) == (code, 1), (said, log)
    assert said["hint"]
    assert "wrong" not in said["msg"]
    assert names(s3) == []


def test_a_directory_that_changes_while_it_is_uploaded_is_uploaded_again(s3, directory, tmp_path):
    path = tmp_path / "db"
    shutil.copytree(directory, path)

    def act(_path: str, _name: str) -> None:
        with (path / "chroma.sqlite3").open("ab") as file:
            file.write(b"\0" * 4096)

    decide = FirstAttempt("PUT", "unverified", act)
    with interference.proxy(s3.endpoint, decide) as proxy:
        said, log = embedding.run(NEWEST, UPLOAD, path, replace(s3, endpoint=proxy.url))
    assert (said["attempts"], "changed while it was uploaded" in log) == (2, True), (said, log)
    check_one_delta(s3, path, said["prefix"])


PHASES = {
    "before anything": ("PUT", "unverified"),
    "at the first file": ("PUT POST", r"/[0-9a-f-]{36}/"),
    "at the last file": ("PUT POST", r"chroma\.sqlite3"),
    "while it is downloaded": ("GET", r"/[0-9a-f-]{36}/data_level0"),
    "before it is a delta": ("PUT", r"delta\.json($|\?)"),
    "when it is one": ("DELETE", "unverified"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_each_phase_there_is_a_whole_delta_or_none_and_the_next_run_makes_one(phase, s3, directory, tmp_path, monkeypatch):
    method, pattern = PHASES[phase]
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with contextlib.ExitStack() as stack:
        process = None

        def kill(_path: str, _name: str) -> str:
            if process:
                process.send_signal(signal.SIGKILL)
            return "hang"

        decide = FirstAttempt(method, pattern, kill)
        proxy = stack.enter_context(interference.proxy(s3.endpoint, decide))
        process = embedding.start(NEWEST, UPLOAD, directory, replace(s3, endpoint=proxy.url))
        process.communicate(timeout=600)
        assert process.returncode == -signal.SIGKILL
        assert decide.hits > 0
    left = names(s3)
    deltas = [name for name in left if name.endswith("delta.json")]
    assert len(deltas) == (1 if phase == "when it is one" else 0), left
    # What is left says whose it is.
    assert not left or f"{decide.first}/delta.json.unverified" in left
    rooms = list(tmp_path.glob(".thinkube-chroma-*"))
    assert len(rooms) == (1 if phase == "while it is downloaded" else 0)
    for room in rooms:
        os.utime(room, (0, 0))  # a young one may not have its lock yet
    said, _log = embedding.run(NEWEST, UPLOAD, directory, s3)
    assert (said["attempts"], said["validated"]) == (1, NEWEST)
    # Another process may still be at it: what is young stays.
    assert set(left) <= set(names(s3))
    assert not list(tmp_path.iterdir())


def test_what_a_killed_attempt_left_a_day_ago_is_removed_and_nothing_else(s3, directory):
    top = s3.root / s3.bucket / "deltas" / "books"
    old = time.time() - 25 * 3600

    def put(name: str, *files: str, at: float = old) -> None:
        for each in files:
            (top / name).mkdir(parents=True, exist_ok=True)
            (top / name / each).write_bytes(b"x")
            os.utime(top / name / each, (at, at))

    put("20261101T000000Z-aaaaaa", "delta.json.unverified", "chroma.sqlite3")
    put("20261101T000000Z-bbbbbb", "delta.json.unverified", "chroma.sqlite3", "delta.json")
    put("20261101T000000Z-cccccc", "chroma.sqlite3")
    put("not-ours", "delta.json.unverified")
    put("20261101T000000Z-dddddd", "delta.json.unverified")
    put("20261101T000000Z-dddddd", "chroma.sqlite3", at=time.time())
    before = set(names(s3))
    said, log = embedding.run(NEWEST, UPLOAD, directory, s3)
    gone = before - set(names(s3))
    assert gone == {"20261101T000000Z-aaaaaa/delta.json.unverified", "20261101T000000Z-aaaaaa/chroma.sqlite3"}, log
    assert said["attempts"] == 1


def test_a_delta_that_is_damaged_later_is_not_valid(s3, directory):
    said, _log = embedding.run(NEWEST, UPLOAD, directory, s3)
    look = f"""
delta = Delta(path=arguments["path"], settings=settings)
print(json.dumps(delta._validate_delta_after_upload("chroma", {said["prefix"]!r})))
"""
    top = s3.root / s3.bucket / said["prefix"]
    assert embedding.run(NEWEST, look, directory, s3)[0] is True
    [vectors] = top.rglob("data_level0.bin")
    whole = vectors.read_bytes()
    flip(vectors)
    found, log = embedding.run(NEWEST, look, directory, s3)
    assert (found, "data_level0.bin" in log) == (False, True)
    vectors.unlink()
    assert embedding.run(NEWEST, look, directory, s3)[0] is False
    vectors.write_bytes(whole)
    assert embedding.run(NEWEST, look, directory, s3)[0] is True
    flip(top / "delta.json")
    found, log = embedding.run(NEWEST, look, directory, s3)
    assert (found, "delta.json" in log) == (False, True)


def test_a_store_that_is_away_is_an_error_and_no_verdict(s3, directory):
    away = replace(s3, endpoint=f"http://127.0.0.1:{servers.free_port()}")
    look = """
try:
    print(json.dumps(Delta(path=arguments["path"], settings=settings)._validate_delta_after_upload("chroma", "deltas/books/x")))
except ChromaError as error:
    print(json.dumps(error.code))
"""
    assert embedding.run(NEWEST, look, directory, away, timeout=1.0)[0] == "unreachable"
