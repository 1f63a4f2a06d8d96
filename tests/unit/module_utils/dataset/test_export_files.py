# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a dataset: whole or not there; parts; one thread that writes while another reads."""

from __future__ import annotations

import errno
import hashlib
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import Part
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.schema import table_schema
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings, check_part, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.writer import PartWriter, overlapped
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

SCHEMA = table_schema((), 2, "c", "l2")


def batch(start, count):
    ids = pa.array([f"id-{n}" for n in range(start, start + count)])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0] * count, pa.float32()), 2)
    return pa.record_batch([ids, vectors, pa.nulls(count, pa.string()), pa.nulls(count, pa.string())], schema=SCHEMA)


def names(directory):
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*") if each.is_file())


def test_a_file_is_counted_hashed_and_read_again(tmp_path):
    store = open_store(str(tmp_path / "new"))
    assert store.read("a/b") is None
    assert store.size("a/b") is None
    assert store.files() == {}
    with store.create("a/b") as output:
        output.write(b"one")
        output.write(b"two")
    assert (output.bytes, output.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
    assert store.read("a/b") == b"onetwo"
    assert store.files() == {"a/b": 6}
    check_part(store, Part("a/b", 0, 6, output.sha256))
    (tmp_path / "new" / "a" / "b").write_bytes(b"onetwO")
    with pytest.raises(ChromaError) as caught:
        check_part(store, Part("a/b", 0, 6, output.sha256))
    assert caught.value.code == "manifest_mismatch"


def test_what_fails_leaves_neither_a_file_nor_the_old_one_changed(tmp_path):
    store = open_store(str(tmp_path))
    store.write("f", b"old")

    def fail():
        with store.create("f") as output:
            output.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == ["f"]
    assert store.read("f") == b"old"


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/etc/out", "a/.."])
def test_a_path_that_leads_elsewhere_is_refused(path, tmp_path):
    store = open_store(str(tmp_path / "set"))
    for use in (lambda: store.write(path, b"x"), lambda: store.read(path), lambda: store.remove(path), lambda: store.at(path)):
        with pytest.raises(ChromaError) as caught:
            use()
        assert caught.value.code == "invalid_value"
    assert names(tmp_path) == []
    store.write("a/..b", b"x")
    assert names(tmp_path) == ["set/a/..b"]


def test_a_file_in_place_of_a_directory_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ChromaError) as caught:
        open_store(str(tmp_path / "file" / "set")).write("f", b"")
    assert caught.value.code in ("invalid_value", "store_error")
    assert "file/set/f" in caught.value.message


@pytest.mark.parametrize(
    "location", ["s3://", "s3://bucket", "s3://bucket/", "ftp://bucket/prefix", "s3://key:secret@bucket/p", "s3://bucket/p?x=1"]
)
def test_a_location_that_cannot_be_right_is_refused_without_its_secret(location):
    with pytest.raises(ChromaError) as caught:
        open_store(location, StoreSettings(access_key="a", secret_key="b"))
    assert caught.value.code == "invalid_value"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("settings", [{}, {"access_key": "a"}, {"access_key": "a", "secret_key": "b", "endpoint": "host:9000"},
                                      {"access_key": "a", "secret_key": "b", "ca_path": "/no/such/file"}])  # fmt: skip
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(settings):
    with pytest.raises(ChromaError) as caught:
        open_store("s3://bucket/prefix", StoreSettings(**settings))
    assert caught.value.code == "invalid_value"


# As pyarrow 26 words them (recorded from versitygw and from a proxy in front of it).
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("When getting information for key 'a' in bucket 'b': AWS Error ACCESS_DENIED during HeadObject operation: No response body.",
         "forbidden"),
        ("AWS Error UNKNOWN (HTTP status 404) during ListObjectsV2 operation: Unable to parse ExceptionName: XAdminUserNotFound Message: "
         "No user exists with the provided access key ID.", "forbidden"),
        ("When creating key 'a' in bucket 'b': AWS Error INVALID_ACCESS_KEY_ID during PutObject operation: The AWS Access Key Id you "
         "provided does not exist in our records.", "forbidden"),
        ("AWS Error SIGNATURE_DOES_NOT_MATCH during PutObject operation: The request signature does not match", "forbidden"),
        ("AWS Error NO_SUCH_BUCKET during PutObject operation: The specified bucket does not exist.", "no_bucket"),
        ("AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 28, Timeout was reached", "timeout"),
        ("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could not connect to server", "unreachable"),
        ("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 35, SSL connect error", "tls"),
        ("AWS Error INTERNAL_FAILURE during UploadPart operation: ", "unavailable"),
        ("AWS Error SLOW_DOWN during UploadPart operation: ", "unavailable"),
        ("something new", "store_error"),
    ],
)  # fmt: skip
def test_an_answer_of_an_object_store_gets_its_code_and_next_step(text, code):
    error = store_fault("Could not write s3://b/a", OSError(text), local=False)
    assert error.code == code
    assert error.message.startswith("Could not write s3://b/a: ")
    assert error.hint


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no_space"),
        (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"), "no_space"),
        (PermissionError(errno.EACCES, "Permission denied"), "forbidden"),
        (OSError(errno.EROFS, "Read-only file system"), "forbidden"),
        (OSError(errno.EIO, "Input/output error"), "store_error"),
    ],
)
def test_a_failure_of_a_directory_gets_its_code_and_next_step(error, code):
    assert store_fault("Could not write /x", error, local=True).code == code


def test_parts_end_where_they_should_and_are_noted_when_they_are_there(tmp_path):
    store, noted = open_store(str(tmp_path)), []

    def note(part):
        assert (tmp_path / part.path).stat().st_size == part.bytes
        noted.append(part)

    with PartWriter(store, "p{}".format, SCHEMA, [], note, part_records=25) as writer:
        for start in range(0, 70, 10):
            writer.write(batch(start, 10))
        writer.finish()
        writer.finish()
    assert [part.records for part in noted] == [30, 30, 10]
    read = [name for part in noted for name in pq.read_table(tmp_path / part.path)["id"].to_pylist()]
    assert read == [f"id-{n}" for n in range(70)]
    again = []
    with PartWriter(store, "p{}".format, SCHEMA, noted[:2], again.append) as writer:
        writer.write(batch(60, 10))
        writer.finish()
    assert [part.path for part in writer.parts] == ["p0", "p1", "p2"]
    assert [part.records for part in again] == [10]


def test_a_writer_that_is_left_early_leaves_finished_parts_only(tmp_path):
    noted = []

    def fail():
        with PartWriter(open_store(str(tmp_path)), "p{}".format, SCHEMA, [], noted.append, 10) as writer:
            writer.write(batch(0, 10))
            writer.write(batch(10, 5))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == ["p0"]
    assert [part.path for part in noted] == ["p0"]


def test_items_are_consumed_in_order_and_few_wait():
    made, seen, most, turn = 0, [], 0, threading.Lock()

    def items():
        nonlocal made
        for number in range(50):
            with turn:
                made += 1
            yield number

    def consume(number):
        nonlocal most
        with turn:
            most = max(most, made - len(seen))
        seen.append(number)

    overlapped(items(), consume)
    assert seen == list(range(50))
    # One is being consumed, one waits, one is being made.
    assert most <= 3


def test_the_first_failure_of_either_side_ends_both():
    seen = []

    def consume(number):
        if number == 3:
            raise ValueError("consumer")
        seen.append(number)

    with pytest.raises(ValueError, match="consumer"):
        overlapped(range(1000), consume)
    assert seen == [0, 1, 2]

    def items():
        yield 0
        raise KeyError("producer")

    with pytest.raises(KeyError, match="producer"):
        overlapped(items(), seen.append)
