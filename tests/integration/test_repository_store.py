# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository of backups in a real object store, and in one that fails."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import object_store
import pytest
import repositories
import servers
from interference import proxy
from repositories import BACKUP, contents, in_store, make_tree, save

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.repository import open_repository
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.restic import Restic

# Fixtures.
tree = repositories.tree


@pytest.fixture(scope="module")
def s3() -> Iterator[object_store.ObjectStore]:
    with object_store.running() as store:
        yield store


def refused(s3, call, *arguments, **options) -> ChromaError:
    """Return the error of a call that has to fail, which says no secret of the store either."""
    error = repositories.refused(call, *arguments, **options)
    assert s3.secret_key not in json.dumps(error.as_result())
    return error


def test_in_an_object_store_it_is_the_same(s3, tree, tmp_path):
    settings = in_store(s3, "same/prefix")
    assert refused(s3, open_repository, settings).code == "no_repository"
    opened = open_repository(settings, create=True)
    saved = save(opened, tree)
    new = opened.retag(saved.snapshot, ["verified=now"])
    assert [each.tag("verified") for each in open_repository(settings).snapshots()] == ["now"]
    opened.check(read_data=True)
    opened.restore(new, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tree)
    assert (s3.root / s3.bucket / "same" / "prefix" / "config").exists()
    assert opened.warn_of(tmp_path) == ""
    opened.forget([new], prune=True)
    assert opened.snapshots() == ()
    (s3.root / s3.bucket / "foreign").mkdir()
    (s3.root / s3.bucket / "foreign" / "photo.jpg").write_bytes(b"x")
    assert refused(s3, open_repository, in_store(s3, "foreign"), create=True).code == "foreign_repository"


@pytest.mark.parametrize(("fault", "code"), [(500, "unavailable"), (503, "unavailable"), ("cut", "unavailable"), ("hang", "timeout")])
def test_an_upload_that_fails_is_named_soon_and_the_next_one_succeeds(fault, code, s3, tree, tmp_path):
    prefix = f"failing-{fault}"
    whole = in_store(s3, prefix)
    open_repository(whole, create=True)
    with proxy(s3.endpoint, lambda method, path, _number: fault if method == "PUT" and "/data/" in path else None) as middle:
        opened = open_repository(in_store(s3, prefix, middle.url))
        began = time.monotonic()
        error = refused(s3, save, opened, tree)
        assert error.code == code, error
        # Expected: three times the time-out of 2 s, one more for an attempt that hangs, and the end of restic; its own limit is 15 minutes.
        print(f"\n{fault}: named after {time.monotonic() - began:.1f} s")
        assert opened.snapshots() == ()
        attempts = 0

        def twice(method: str, path: str, _number: int) -> int | str | None:
            nonlocal attempts
            attempts += method == "PUT" and "/data/" in path
            return fault if method == "PUT" and "/data/" in path and attempts <= 2 else None

        middle.decide = twice
        # restic's own pauses may add up to 4.5 s.
        opened = open_repository(in_store(s3, prefix, middle.url, timeout=2.0 if fault == "hang" else 10.0))
        saved = save(opened, tree)
        assert attempts > 2
    opened = open_repository(whole)
    opened.retag(saved.snapshot, ["verified=now"])
    opened.check(read_data=True)
    [found] = opened.snapshots()
    opened.restore(found.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tree)


@pytest.mark.parametrize(("fault", "code"), [(500, "unavailable"), ("hang", "timeout")])
def test_a_store_that_fails_from_the_beginning_is_named_and_nothing_is_made(fault, code, s3, tree):
    with proxy(s3.endpoint, lambda _method, _path, _number: fault) as middle:
        assert refused(s3, open_repository, in_store(s3, f"first-{fault}", middle.url), create=True).code == code
    assert not (s3.root / s3.bucket / f"first-{fault}").exists()


def test_an_upload_with_a_changed_bit_is_never_taken(s3, tree, tmp_path):
    opened = open_repository(in_store(s3, "bits"), create=True)
    changed = []

    def once(method: str, path: str, _number: int) -> str | None:
        if method == "PUT" and "/data/" in path and not changed:
            changed.append(path)
            return "flip"
        return None

    with proxy(s3.endpoint, once) as middle:
        saved = save(open_repository(in_store(s3, "bits", middle.url)), tree)
    assert changed
    opened.check(read_data=True)
    opened.restore(saved.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tree)


def test_a_lost_object_is_named_with_the_backups_that_need_it(s3, tree, tmp_path):
    opened = open_repository(in_store(s3, "lost"), create=True)
    saved = save(opened, tree)
    packs = list((s3.root / s3.bucket / "lost" / "data").glob("*/*"))
    other = save(opened, make_tree(tmp_path / "other", 2), 2)
    max(packs, key=lambda each: each.stat().st_size).unlink()
    error = refused(s3, opened.check)
    assert error.code == "damaged_repository"
    assert error.result["backups"] == (f"{BACKUP}1",)
    error = refused(s3, opened.restore, saved.snapshot, tmp_path / "lost")
    assert error.code == "damaged_repository"
    assert f"{BACKUP}1" in error.message
    assert contents(tmp_path / "lost") == {}
    opened.restore(other.snapshot, tmp_path / "whole")
    assert contents(tmp_path / "whole") == contents(tmp_path / "other")


def test_a_bucket_that_vanished_or_never_was_is_named_and_not_made(tree):
    with object_store.running() as s3:
        opened = open_repository(in_store(s3, "backups"), create=True)
        saved = save(opened, tree)
        shutil.move(s3.root / s3.bucket, s3.root.parent / "elsewhere")
        for call, arguments in ((save, (opened, tree, 2)), (opened.snapshots, ()), (opened.read_file, (saved.snapshot, "manifest.json"))):
            assert refused(s3, call, *arguments).code == "no_bucket"
        for create in (True, False):
            assert refused(s3, open_repository, in_store(s3, "backups"), create=create).code == "no_bucket"
        assert s3.bucket not in os.listdir(s3.root)


def test_what_a_store_refuses_is_named(s3, tree):
    open_repository(in_store(s3, "rights"), create=True)
    nobody = f"http://127.0.0.1:{servers.free_port()}"
    for changes, code in (
        ({"secret_key": "not-the-secret-key"}, "forbidden"),
        ({"access_key": "nobody"}, "forbidden"),
        ({"endpoint": nobody}, "unreachable"),
        ({"endpoint": s3.endpoint.replace("http:", "https:")}, "tls"),
    ):
        for prefix in ("rights", "none"):
            error = refused(s3, open_repository, in_store(s3, prefix, **changes), create=True)
            assert error.code == code, error
            assert "not-the-secret-key" not in json.dumps(error.as_result())
    assert not (s3.root / s3.bucket / "none").exists()


def test_another_that_was_faster_is_no_error(s3, tree, monkeypatch):
    settings, others = in_store(s3, "faster"), []
    run = Restic.run

    def late(restic: Restic, command: str, *arguments: str, **options: Any) -> Any:
        if command == "init" and not others:
            others.append("makes it")
            open_repository(settings, create=True)
        return run(restic, command, *arguments, **options)

    monkeypatch.setattr(Restic, "run", late)
    saved = save(open_repository(settings, create=True), tree)
    assert others
    assert [each.snapshot for each in open_repository(settings).snapshots()] == [saved.snapshot]
    assert len(list((s3.root / s3.bucket / "faster" / "keys").iterdir())) == 1


def test_two_that_make_one_at_the_same_moment_leave_one_that_opens(s3, tree, tmp_path):
    """An object store can't keep one of them out."""
    other = make_tree(tmp_path / "other", 2)

    def one(number: int) -> str:
        return save(open_repository(in_store(s3, "together"), create=True), (tree, other)[number - 1], number).snapshot

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(one, (1, 2)))
    opened = open_repository(in_store(s3, "together"))
    assert {each.snapshot for each in opened.snapshots()} == set(done)
    opened.check(read_data=True)
