# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository's pure decisions: settings, versions, locks, what a place is, what restic's words mean."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.damage import backups_of_packs, find_damage
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.faults import restic_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.locks import RepositoryLock, dead_locks, pods_gone, process_runs
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.mending import is_damaged, named_packs
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.place import BEGUN, DAMAGED, EMPTY, FOREIGN, MADE, judge
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Outcome
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.program import parse_version
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import (
    RepositorySettings,
    environment,
    restic_location,
    settings_from,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.snapshots import MARK, Snapshot, parse_snapshot, select
from ansible_collections.thinkube.chroma.tests.unit.kube_api import serve

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
STORE = StoreSettings(endpoint="http://store:9000", access_key="key", secret_key="secret-of-no-value")
IN_STORE = RepositorySettings("s3://bucket/a/b/", password="pass-of-no-value", store=STORE)
LOCK = RepositoryLock("1" * 64, NOW, True, "here", 7, "root")


def test_a_location_is_given_in_restics_spelling():
    assert restic_location(RepositorySettings("/backups/../backups/chroma")) == "/backups/chroma"
    assert restic_location(IN_STORE) == "s3:http://store:9000/bucket/a/b"
    amazon = replace(IN_STORE, store=StoreSettings(region="eu-central-1"))
    assert restic_location(amazon) == "s3:https://s3.eu-central-1.amazonaws.com/bucket/a/b"


def test_the_environment_is_what_the_options_say_and_nothing_that_leads_elsewhere():
    inherited = {
        "PATH": "/bin",
        "RESTIC_REPOSITORY_FILE": "/elsewhere",
        "RESTIC_PASSWORD_COMMAND": "elsewhere",
        "RESTIC_CACHE_DIR": "/cache",
        "AWS_PROFILE": "elsewhere",
        "AWS_SESSION_TOKEN": "elsewhere",
    }
    made = environment(IN_STORE, inherited)
    assert "elsewhere" not in "".join(made.values())
    assert (made["PATH"], made["RESTIC_CACHE_DIR"], made["TZ"]) == ("/bin", "/cache", "UTC")
    assert (made["RESTIC_PASSWORD"], made["AWS_SECRET_ACCESS_KEY"]) == ("pass-of-no-value", "secret-of-no-value")
    assert "of-no-value" not in repr(IN_STORE)
    assert "AWS_ACCESS_KEY_ID" not in environment(replace(IN_STORE, location="/backups"), inherited)


def test_a_password_file_that_is_named_counts_and_not_the_environments_password(tmp_path):
    (tmp_path / "password").write_text(" from the file\n")
    options = {
        "repository": "/backups",
        "repository_password": "from the environment",
        "repository_password_file": str(tmp_path / "password"),
        "repository_lock_wait": 1.0,
        "restic_path": "restic",
        "s3_endpoint": None,
        "s3_region": "us-east-1",
        "s3_ca_path": None,
        "s3_timeout": 20.0,
        "access_key": None,
        "secret_key": None,
    }
    assert environment(settings_from(options))["RESTIC_PASSWORD"] == "from the file"
    assert environment(settings_from({**options, "repository_password_file": None}))["RESTIC_PASSWORD"] == "from the environment"
    with_a_newline = {**options, "repository_password_file": None, "repository_password": "of a Secret made of a file\r\n"}
    assert environment(settings_from(with_a_newline))["RESTIC_PASSWORD"] == "of a Secret made of a file"
    for wrong in (
        {"repository_password": "\n", "repository_password_file": None},
        {"repository": " "},
        {"repository": "s3://bucket"},
        {"repository": "s3://key:secret@bucket/prefix"},
        {"repository": "sftp:host:/path", "repository_lock_wait": -1.0},
        {"repository": "s3://bucket/prefix"},
        {"repository": "s3://bucket/prefix", "access_key": "a", "secret_key": "b", "s3_endpoint": "store:9000"},
        {"repository": "s3://bucket/prefix", "access_key": "a", "secret_key": "b", "s3_ca_path": "/absent"},
        {"s3_timeout": 0.0},
        {"repository_password": None, "repository_password_file": None},
    ):
        with pytest.raises(ChromaError) as caught:
            settings_from({**options, **wrong})
        assert caught.value.code == "invalid_value"
        assert caught.value.hint


def test_versions_are_read_from_what_restic_prints():
    assert parse_version('{"message_type":"version","version":"0.18.1","go_version":"go1.26"}') == (0, 18, 1)
    assert parse_version("restic 0.14.0 compiled with go1.19.4 on linux/amd64") == (0, 14, 0)
    assert parse_version("restic 0.17.0-dev (v0.17.0-12) compiled with go1.22") == (0, 17, 0)
    for other in ("", "something else 1.0", "restic compiled with go", "[]"):
        assert parse_version(other) is None


def test_only_a_lock_that_provably_nobody_holds_is_dead():
    cases = [
        (LOCK, True, False, False),
        (LOCK, False, False, True),
        (replace(LOCK, hostname="elsewhere"), False, False, False),
        (replace(LOCK, hostname="elsewhere"), True, True, True),
        (replace(LOCK, hostname="elsewhere", time=NOW - timedelta(minutes=29)), True, False, False),
        (replace(LOCK, hostname="elsewhere", time=NOW - timedelta(minutes=31)), True, False, True),
        # From a clock that is ahead, or before this one was set back: its age says nothing.
        (replace(LOCK, hostname="elsewhere", time=NOW + timedelta(days=1)), True, False, False),
        (replace(LOCK, time=NOW + timedelta(days=1)), False, False, True),
        # Of this host: the clock was set forward, and its owner has not renewed it since; or nobody knows its owner.
        (replace(LOCK, time=NOW - timedelta(days=1)), True, False, False),
        (replace(LOCK, time=NOW - timedelta(minutes=29)), None, True, False),
        (replace(LOCK, time=NOW - timedelta(minutes=31)), None, False, True),
    ]
    for lock, runs, gone, dead in cases:
        found = dead_locks([lock], NOW, "here", lambda _lock, runs=runs: runs, lambda _host, gone=gone: gone)
        assert bool(found) == dead, lock


def test_a_process_of_the_same_number_is_the_locks_only_if_it_is_restic_whatever_the_clock_says(tmp_path):
    (tmp_path / "7").mkdir()
    stat = tmp_path / "7" / "stat"
    for name, state, runs in (
        ("restic", "S", True),
        ("restic-0.18 (1)", "S", True),
        ("restic", "Z", False),
        ("python3", "S", False),
    ):
        stat.write_text(f"7 ({name}) {state} {' '.join(['0'] * 18)} 100 0 0\n")
        for age in (timedelta(seconds=1), timedelta(days=1), timedelta(days=-1)):
            assert process_runs(replace(LOCK, time=datetime.now(UTC) - age), tmp_path) is runs, (name, state, age)
    assert process_runs(replace(LOCK, pid=8), tmp_path) is False
    stat.unlink()
    assert process_runs(LOCK, tmp_path) is None
    assert process_runs(LOCK, tmp_path / "no proc here") is None


def test_a_pod_is_gone_when_it_has_ended_or_is_absent_where_no_other_namespace_works_and_other_hosts_never_are():
    with serve() as api:
        for name, phase in (("chroma-backup-1-x7k2p", "Running"), ("chroma-backup-2-x7k2p", "Failed"), ("chroma-0", "Running")):
            api.put("Pod", name, "chroma", status={"phase": phase})
        # The account of operations has no right to anything but a list.
        for name in (*api.objects, "/api/v1/namespaces/chroma/pods/chroma-backup-3-x7k2p"):
            api.answers["GET", name] = (403, b'{"message": "forbidden"}')
        names = ("chroma-backup-1-x7k2p", "chroma-backup-2-x7k2p", "chroma-backup-3-x7k2p", "laptop", "chroma-0")
        # Where it is shared the third may be a pod of another namespace, which is at work.
        for shared, gone in ((False, [False, True, True, False, False]), (True, [False, True, False, False, False])):
            judge_of = pods_gone(api.session(), "chroma", shared)
            assert [judge_of(name) for name in names] == gone


def test_a_repository_in_an_object_store_may_be_shared_and_the_directory_of_a_claim_is_not(tmp_path):
    with serve() as api:
        cluster = {"kubeconfig": api.kubeconfig(tmp_path), "namespace": "chroma", "statefulset": "chroma"}
        for repository, gone in (("/backups/chroma", True), ("s3://bucket/prefix", False)):
            assert cluster_from({**cluster, "repository": repository})[1]("chroma-backup-3-x7k2p") is gone


def test_a_place_without_a_config_is_judged_by_what_is_there():
    folders = {"data", "index", "keys", "locks", "snapshots"}
    assert judge(set(), set()) == EMPTY
    assert judge(folders, set()) == BEGUN
    assert judge(folders, {"keys/ab"}) == BEGUN
    assert judge({"keys"}, {"keys/ab"}) == BEGUN
    assert judge({*folders, "config-tmp-123"}, {"keys/ab", "config-tmp-123"}) == BEGUN
    for lost in ("data/00/ab", "index/ab", "snapshots/ab"):
        assert judge(folders, {"keys/ab", lost}) == DAMAGED
    assert judge({*folders, "photos"}, {"photos/a"}) == FOREIGN
    assert judge({*folders, "config"}, {"config", "data/00/ab"}) == MADE
    assert judge({"tmp"}, {"tmp/a"}) == FOREIGN


def snapshot(number: int, *tags: str, hours: int = 0) -> Snapshot:
    return Snapshot(f"{number:064x}", NOW + timedelta(hours=hours), tags, "host")


def test_ours_are_those_with_the_mark_and_an_id_in_order_of_time():
    """Also both that an interrupted retag left of one backup: the catalogue removes one of them."""
    one, two = snapshot(1, MARK, "id=a", hours=2), snapshot(2, MARK, "id=b", "kind=full", hours=1)
    again = snapshot(0, MARK, "id=a", "verified=now", hours=2)
    others = [snapshot(3, "id=c"), snapshot(4, MARK), snapshot(5)]
    assert select([one, two, *others], []) == (two, one)
    assert select([one, two, again], []) == (two, again, one)
    assert select([one, two, again], ["kind=full"]) == (two,)
    assert select([one, again], ["id=a", "verified=now"]) == (again,)


def test_a_snapshot_is_read_from_restics_json():
    document = {"id": "ab", "time": "2026-11-21T10:00:00.123456789+01:00", "tags": None, "hostname": "pod"}
    assert parse_snapshot(document) == Snapshot("ab", datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC), (), "pod")
    summary = {"total_files_processed": 3, "total_bytes_processed": 30, "data_added_packed": 20}
    found = parse_snapshot({**document, "tags": ["a=1", "a=2"], "summary": summary})
    assert (found.files, found.bytes, found.stored, found.tag("a"), found.tag("b")) == (3, 30, 20, "2", "")


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        (12, "Fatal: wrong password or no key found", "wrong_password"),
        (11, "unable to create lock in backend: repository is already locked by PID 7", "repository_locked"),
        (10, "Fatal: repository does not exist: unable to open config file: Stat: The specified key does not exist.", "no_repository"),
        (10, "Fatal: unable to open config file: Stat: The specified bucket does not exist", "no_bucket"),
        (1, "Fatal: config or key abc is damaged: ciphertext verification failed", "damaged_repository"),
        (1, "Fatal: unable to open config file: Stat: Access Denied.", "forbidden"),
        (1, "Save(<data/ab>) failed: write /x: no space left on device", "no_space"),
        (1, "Fatal: unsupported repository version", "newer_repository"),
        (1, "The difference between the request time and the server's time is too large.", "clock_skew"),
        (1, "tls: failed to verify certificate: x509: certificate signed by unknown authority", "tls"),
        (1, "dial tcp 10.0.0.1:9000: connect: connection refused", "unreachable"),
        (1, "dial tcp: lookup s3.example.com on 10.96.0.10:53: server misbehaving", "unreachable"),
        (1, "dial tcp 10.0.0.1:9000: connect: connection timed out", "timeout"),
        (130, "context canceled", "interrupted"),
        (1, "something that nobody knows", "repository_error"),
    ],
)
def test_what_restic_says_has_a_code_and_a_next_step(code, message, expected):
    error = restic_fault("Could not read /backups", Outcome(code=code, message=message), RepositorySettings("/backups"))
    assert error.code == expected
    assert error.hint
    assert "/backups" in error.message


def test_damaged_packs_are_known_by_the_first_digits_that_restic_prints():
    packs = ["b700ea3f" + "0" * 56, "9ad962a4" + "8" * 56, "11111111" + "1" * 56]
    complaints = [
        "decrypting blob <data/317222a6> from b700ea3f failed: ciphertext verification failed",
        "ReadFull(<data/9ad962a488>): EOF",
    ]
    assert named_packs(complaints, packs) == tuple(sorted(packs[:2]))
    assert named_packs(["something else"], packs) == ()


def test_a_pack_is_damaged_only_if_it_is_read_the_same_way_twice():
    pack = hashlib.sha256(b"whole").hexdigest()
    for reads, damaged in (
        ([b"other", b"other"], True),
        ([b"", b""], True),
        ([b"whole", b"whole"], False),
        # Of a line or a disk that errs now and then, and one that does not answer, nothing is known.
        ([b"other", b"whole"], False),
        ([b"whole", b"other"], False),
        ([b"other", b"another"], False),
        ([b"other", None], False),
        ([None, None], False),
    ):
        answers = iter(reads)
        assert is_damaged(pack, lambda _pack, answers=answers: next(answers)) is damaged, reads


class Finding:
    """A restic whose ``find`` answers what it is told to, by what it is asked for."""

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers

    def read(self, _limit: int, *arguments: str) -> tuple[bytes, Outcome]:
        return self.answers[arguments[1].strip("-")], Outcome()


def test_damage_concerns_the_backups_that_restic_names_in_json_and_between_it_and_all_where_it_names_none():
    pack, other, part = "a" * 64, "b" * 64, "c" * 64
    backups = [snapshot(each, MARK, f"id={each}") for each in (1, 2, 3)]
    found = [
        json.dumps({"object_type": "blob", "id": part, "path": f"/data/{each}", "snapshot": backups[each].snapshot}) for each in (0, 1)
    ]
    unloaded = f"Unable to load tree {part}\n ... which belongs to snapshot {backups[2].snapshot}\n"
    for answer, concerned in (
        ("[]\n", ("1", "2", "3")),
        ("", ("1", "2", "3")),
        ("[" + unloaded, ("1", "2", "3")),
        (f"{unloaded}[]\n", ("3",)),
        (f"[{found[0]}]\n", ("1",)),
        (f"[{found[0]}{unloaded},{found[1]}{unloaded}]\n", ("1", "2", "3")),
        (f"{unloaded}[{found[0]}{unloaded}]\n", ("1", "3")),
    ):
        assert backups_of_packs(Finding(pack=answer.encode()), [pack], backups) == concerned, answer
    spoiled, gone = f"pack {pack} contains 1 errors: [blob {part}: failed]", f"pack {other}: does not exist"
    named, nothing = f"[{found[0]}]\n".encode(), b"[]\n"
    for complaints, answers, concerned in (
        ([spoiled], {"blob": named}, ("1",)),
        ([spoiled, gone], {"blob": named, "pack": f"[{found[1]}]\n".encode()}, ("1", "2")),
        ([spoiled, gone], {"blob": named, "pack": nothing}, ("1", "2", "3")),
        ([gone], {"pack": named}, ("1",)),
        ([gone], {"pack": nothing}, ("1", "2", "3")),
        (["error for tree cccccccc:"], {}, ("1", "2", "3")),
    ):
        damage = find_damage(Finding(**answers), Outcome(1, complaints=complaints), backups)
        assert (damage.backups, damage.complaints) == (concerned, tuple(complaints)), complaints
