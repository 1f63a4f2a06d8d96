# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The start check: which damages end or empty a real server, that these are refused and no others, and that nothing is written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import broken
import damage
import filling
import pytest
import servers
from damage import DIES, EMPTIES, REFUSES, SERVES
from repairing import breaks
from scene import NEW

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.plugins.module_utils import _guard
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.runner import validate
from ansible_collections.thinkube.chroma.plugins.module_utils._guard import HARMFUL, effect, judge
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "playbooks" / "collections"
PROGRAM = "ansible_collections.thinkube.chroma.plugins.module_utils._guard"

# What a server does: on 1.5.9, on 0.6.3. docs/health.md shows the same.
MEASURED = {
    "a_folder_is_gone_and_the_log_was_purged": (EMPTIES, EMPTIES),
    "the_folder_of_an_index_that_was_never_saved_is_gone": (SERVES, SERVES),
    "the_header_is_gone": (REFUSES, REFUSES),
    "the_header_is_torn": (DIES, DIES),
    "the_header_is_empty": (REFUSES, REFUSES),
    "the_header_counts_more_than_there_is_room_for": (DIES, DIES),
    "the_header_is_noise": (REFUSES, REFUSES),
    "the_dimension_was_changed": (DIES, REFUSES),
    "the_dimension_is_unknown": (EMPTIES, SERVES),
    "the_vectors_are_cut_off": (REFUSES, DIES),
    "the_vectors_are_gone": (REFUSES, REFUSES),
    "the_vectors_are_empty": (REFUSES, DIES),
    "the_vectors_are_longer": (SERVES, SERVES),
    "the_lengths_are_gone": (REFUSES, REFUSES),
    "the_lengths_are_cut_off": (SERVES, SERVES),
    "the_links_are_gone": (REFUSES, REFUSES),
    "the_links_are_cut_off": (SERVES, SERVES),
    "the_links_have_grown": (SERVES, SERVES),
    "a_vector_holds_nan": (SERVES, SERVES),
    "a_vector_holds_infinities": (SERVES, SERVES),
    "a_vector_in_the_log_holds_nan": (SERVES, SERVES),
    "a_link_points_nowhere": (DIES, DIES),
    "an_element_has_more_links_than_there_is_room_for": (DIES, DIES),
    "the_entry_point_is_nowhere": (DIES, DIES),
    "the_higher_links_are_zeros": (DIES, DIES),
    "the_higher_links_end_in_zeros": (DIES, DIES),
    # 1.5.9 takes what is in memory by chance for lengths.
    "the_higher_links_are_empty": (REFUSES, DIES),
    "higher_links_lead_to_elements_that_have_none": (DIES, DIES),
    "the_label_map_is_gone": (EMPTIES, EMPTIES),
    "the_first_save_of_an_index_was_killed": (SERVES, SERVES),
    "the_first_save_of_an_index_was_killed_and_tore_its_header": (SERVES, SERVES),
    "the_label_map_is_torn": (REFUSES, REFUSES),
    "the_label_map_is_empty": (REFUSES, REFUSES),
    "the_label_map_is_noise": (REFUSES, REFUSES),
    "the_label_map_would_run_a_command": (REFUSES, REFUSES),
    "two_ids_have_one_label": (SERVES, REFUSES),
    "the_halves_of_the_label_map_differ": (REFUSES, REFUSES),
    "an_element_has_another_label": (REFUSES, REFUSES),
    "an_element_is_marked_as_deleted": (REFUSES, REFUSES),
}
# 0.6.3 executes it, and answers with an error then.
RUNS_CODE = "the_label_map_would_run_a_command"
CASES = {case.name: case for case in broken.CASES}
# A server of 1.5.9 takes two seconds, one of 0.6.3 five; one of each kind is enough to see that the rest still holds.
TELLING = {
    ("1.5.9", "a_folder_is_gone_and_the_log_was_purged"),
    ("1.5.9", "the_header_is_torn"),
    ("1.5.9", "the_links_are_cut_off"),
    ("1.5.9", "a_link_points_nowhere"),
    ("1.5.9", "the_label_map_is_gone"),
    ("1.5.9", "the_label_map_is_torn"),
    ("0.6.3", RUNS_CODE),
}
VERSIONS = ("1.5.9", "0.6.3")


@pytest.fixture(scope="session")
def healthy(bases, tmp_path_factory):
    """Return a function: what a server says of the directory before it is broken; asked once."""
    seen = {}

    def ask(version):
        if version not in seen:
            seen[version] = damage.look(version, Path(shutil.copytree(bases(version)[0], tmp_path_factory.mktemp("look") / "data")))
        return seen[version]

    return ask


def main_finding(name):
    """Return the identifier of what was broken; the others only follow from it."""
    return min(identifier for identifier, _collection in CASES[name].expected)


def contents(path):
    """Return a checksum and the times of every file and folder."""
    return {
        each.relative_to(path): (each.stat().st_mtime_ns, hashlib.sha256(each.read_bytes()).hexdigest() if each.is_file() else "")
        for each in (path, *path.rglob("*"))
    }


def vectors(client, collection):
    """Return the vectors of a collection as float32: 0.x answers with what was sent until an index has it."""
    return {each["id"]: struct.pack("<8f", *each["embedding"]) for each in client.get(collection, include=["embeddings"])}


def run(path, message=None):
    """Run the program as the init container does: without Ansible, with nothing but the collection's path."""
    command = [sys.executable, "-m", PROGRAM, str(path), *(["--message", str(message)] if message else [])]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(COLLECTIONS), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        pytest.param(version, name, marks=() if (version, name) in TELLING else pytest.mark.thorough)
        for version in VERSIONS
        for name in MEASURED
        if version in CASES[name].versions
    ],
)
def test_what_a_server_makes_of_a_damaged_index(version, name, bases, healthy, tmp_path):
    path = breaks(name, version, bases, tmp_path / "data").path
    seen = damage.observe(version, path, healthy(version))
    assert seen.kind == MEASURED[name][VERSIONS.index(version)], seen
    assert (tmp_path / "executed").exists() == (name == RUNS_CODE and version == "0.6.3")


def test_exactly_the_kinds_of_damage_that_harm_a_server_are_refused():
    for place, version in enumerate(VERSIONS):
        harmful = {main_finding(name) for name, outcomes in MEASURED.items() if outcomes[place] in (DIES, EMPTIES)}
        if version == "0.6.3":
            harmful.add(main_finding(RUNS_CODE))
        assert {kind for kind in HARMFUL if effect(kind, version)} == harmful
        assert harmful <= {kind for kind in HARMFUL if effect(kind)}
    # Nothing of an index, or its label map, was left out of the measurement.
    subject = {
        name
        for name, case in CASES.items()
        if set(VERSIONS) <= set(case.versions)
        and any(kind[:5] in ("CHR03", "CHR05") or kind in ("CHR018", "CHR019") for kind, _collection in case.expected)
    }
    assert subject == set(MEASURED)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_directory_is_refused_where_its_damage_harms_a_server_and_else_accepted(version, bases, tmp_path):
    wrong, harmful = {}, {kind for kind in HARMFUL if effect(kind, version)}
    for name in (each.name for each in broken.CASES if version in each.versions):
        path = breaks(name, version, bases, tmp_path / name / "data").path
        before = contents(path)
        verdict = judge(path, version)
        refused = {each.kind.id for each in verdict.refused}
        expected = {kind for kind, _collection in CASES[name].expected} & harmful if name in MEASURED else set()
        if refused != expected:
            wrong[name] = (refused, verdict.notes)
        if contents(path) != before:
            wrong[name, "was written to"] = path
        shutil.rmtree(tmp_path / name)
    assert wrong == {}


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_an_index_whose_first_save_was_killed_comes_back_whole(version, bases, tmp_path):
    path = breaks("the_first_save_of_an_index_was_killed", version, bases, tmp_path / "data").path
    before = contents(path)
    assert judge(path).refused == []
    assert [each.kind.id for each in validate(path).of_data] == ["CHR019"]
    assert contents(path) == before
    written = {}
    for start in (1, 2):
        with servers.running(version, data=path) as server:
            client = ChromaClient(Connection(server.url))
            few = client.require_collection("few")
            if start == 1:
                logged = vectors(client, few)
                assert len(logged) == 7
                filling.write(client, few, range(1000, 1000 + filling.THRESHOLD + 10), nulls=False)
                written = vectors(client, few)
                assert written.items() >= logged.items()
            assert vectors(client, few) == written
            for name, vector in written.items():
                assert client.query(few, [struct.unpack("<8f", vector)], 1, include=["distances"])[0][0]["id"] == name
    assert (broken.Scene(path, version, path).folder("few") / "index_metadata.pickle").exists()
    assert validate(path).of_data == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("change", ["a record is not in the log", "its entry has no vector", "it was saved before"])
def test_an_index_without_label_map_that_the_log_does_not_hold_is_refused(version, change, bases, tmp_path):
    scene = breaks("the_first_save_of_an_index_was_killed", version, bases, tmp_path / "data")
    if change == "it was saved before":
        scene.sql("INSERT INTO max_seq_id SELECT ?, seq_id FROM max_seq_id LIMIT 1", scene.segment(name="few"))
    else:
        what = "DELETE FROM embeddings_queue" if change == "a record is not in the log" else "UPDATE embeddings_queue SET vector = NULL"
        scene.sql(f"{what} WHERE topic = ? AND id = 'id-3'", scene.topic("few"))
    assert [(each.kind.id, each.collection) for each in judge(scene.path, version).refused] == [
        ("CHR050", "default_tenant/default_database/few")
    ]
    assert "CHR050" in {each.kind.id for each in validate(scene.path).of_data}


@pytest.mark.parametrize("version", VERSIONS)
def test_of_a_half_saved_index_too_the_log_is_compared_with_the_records(version, bases, tmp_path):
    scene = breaks("the_first_save_of_an_index_was_killed", version, bases, tmp_path / "data")
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id) VALUES (3, ?, 'id-3')", scene.topic("few"))
    # The records are as of after this deletion, and have it still.
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue")
    stored = last if version in NEW else last.to_bytes(8, "big")
    scene.sql("UPDATE max_seq_id SET seq_id = ? WHERE segment_id = ?", stored, scene.segment("METADATA", "few"))
    assert sorted((each.kind.id, each.collection.rpartition("/")[2]) for each in validate(scene.path).of_data) == [
        ("CHR019", "few"),
        ("CHR070", "few"),
    ]


@pytest.mark.thorough
@pytest.mark.parametrize("version", servers.VERSIONS)
def test_healthy_directories_of_all_releases_are_accepted(version, bases, tmp_path):
    """Fresh, worn, killed, with a hundred collections, upgraded in place."""
    filling.healthy(version, tmp_path)
    paths = [*bases(version), tmp_path / "fresh", tmp_path / "worn", tmp_path / "many"]
    if version != "1.5.9":
        filling.upgrade(bases(version)[0], tmp_path / "upgraded")
        paths.append(tmp_path / "upgraded")
    for path in paths:
        before = contents(path)
        for release in ("", version, "1.5.9"):
            verdict = judge(path, release)
            assert (list(verdict.refused), list(verdict.notes)) == ([], []), path
        assert verdict.indexes or path.name == "fresh"
        assert contents(path) == before


def test_an_index_that_is_refused_is_named_with_its_file_and_what_to_run(bases, tmp_path):
    path = breaks("the_label_map_is_gone", "1.5.9", bases, tmp_path / "data").path
    message = tmp_path / "termination-log"
    done = run(path, message)
    segment = broken.Scene(path, "1.5.9", path).segment()
    assert done.returncode == 4
    assert done.stderr == ""
    for text in (done.stdout, message.read_text()):
        assert f"refused: default_tenant/default_database/books: CHR050 {segment}/index_metadata.pickle: " in text
        assert "42_recover" in text
        assert "30_restore" in text
        assert "chroma_start_check=false" in text
    assert "indexes, 1 that harm a server" in done.stdout


def test_the_message_for_kubernetes_is_never_too_long_and_keeps_what_to_do(bases, tmp_path):
    path = Path(shutil.copytree(bases("1.5.9")[0], tmp_path / "data"))
    scene = broken.Scene(path, "1.5.9", path)
    collection, segment, home = scene.id(), scene.segment(), scene.one("SELECT database_id FROM collections WHERE name = 'books'")
    for number in range(40):
        other = f"{number:08}{collection[8:]}"
        scene.sql("INSERT INTO collections (id, name, dimension, database_id) VALUES (?, ?, 8, ?)", other, f"漢{number:03}" * 20, home)
        scene.sql("INSERT INTO segments VALUES (?, 'x', 'VECTOR', ?)", f"{number:08}{segment[8:]}", other)
        (path / f"{number:08}{segment[8:]}").mkdir()
    done = run(path, tmp_path / "message")
    assert done.returncode == 4
    assert done.stdout.count("refused: ") == 40
    told = (tmp_path / "message").read_bytes()
    assert len(told) <= 4096
    assert told.decode().endswith("chroma_start_check=false\n")


def test_an_empty_directory_one_without_database_and_one_that_cannot_be_read_are_accepted(bases, tmp_path):
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent"):
        done = run(path)
        assert done.returncode == 0, done.stdout
        assert "does not exist: a server begins with an empty one" in done.stdout
    path = breaks("sqlite_is_gone", "1.5.9", bases, tmp_path / "without").path
    assert run(path).returncode == 0
    path = breaks("sqlite_is_no_database", "1.5.9", bases, tmp_path / "noise").path
    done = run(path)
    assert done.returncode == 0
    assert "could not be read: file is not a database" in done.stdout


def test_nothing_is_written_to_a_directory_whose_server_was_killed_in_a_transaction(bases, tmp_path):
    path = Path(shutil.copytree(bases("1.5.9")[0], tmp_path / "data"))
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN');"
        "c.execute('DELETE FROM embeddings'); c.execute('DELETE FROM embedding_metadata'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(path / "chroma.sqlite3")], check=False)
    assert (path / "chroma.sqlite3-journal").stat().st_size > 512
    before = contents(path)
    done = run(path)
    assert (done.returncode, contents(path)) == (0, before), done.stdout
    assert "4 indexes, 0 that harm" in done.stdout
    (broken.Scene(path, "1.5.9", path).folder() / "index_metadata.pickle").unlink()
    assert run(path).returncode == 4


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare to mount read-only")
def test_a_read_only_mount_is_enough(bases, tmp_path):
    path = Path(shutil.copytree(bases("1.5.9")[0], tmp_path / "data"))
    readonly = f"mount --bind {path} {path} && mount -o remount,ro,bind {path} && ! touch {path}/x 2>/dev/null"
    script = f"{readonly} && exec {sys.executable} -m {PROGRAM} {path}"
    environ = {**os.environ, "PYTHONPATH": str(COLLECTIONS)}
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], env=environ, capture_output=True, text=True, check=False, timeout=600)
    if "Operation not permitted" in done.stderr or "permission denied" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 0, done.stderr
    assert "4 indexes, 0 that harm" in done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("version", ["1.5.9", "0.6.3"])
def test_an_index_whose_save_was_killed_is_refused_where_it_ends_or_empties_a_server(version, tmp_path):
    """Whatever the kill leaves: where the server serves it, or says that it can't, it is none of the check's business."""
    for attempt in range(4):
        path = tmp_path / str(attempt)
        if filling.torn(version, path):
            break
    else:
        pytest.fail("no save was interrupted in four attempts")
    refused = {each.kind.id for each in judge(path, version).refused}
    ended = ""
    try:
        with servers.running(version, data=path) as server:
            client = ChromaClient(Connection(server.url, retries=0))
            with contextlib.suppress(ChromaError):
                big = client.require_collection("big")
                for number in range(0, 1000, 50):
                    client.query(big, [[float(number + place) for place in range(512)]], 500)
            ended = damage.ended(server, "read")
    except RuntimeError:
        ended = "at its start"
    print(f"{version}: refused {refused or 'nothing'}; the server {f'died: {ended}' if ended else 'lived'}")
    assert refused or not ended


@pytest.mark.thorough
def test_how_long_it_takes_and_how_much_memory(tmp_path):
    """200,000 × 384: less than two seconds on two quiet cores; printed, not demanded. The memory is."""
    synthetic.create(tmp_path / "data", 200_000, 384)
    # A process between: a child's memory counts from before it became another program.
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(done.returncode, used.ru_maxrss, used.ru_utime + used.ru_stime)"
    )
    command = [sys.executable, "-c", script, sys.executable, "-m", PROGRAM, str(tmp_path / "data")]
    began = time.monotonic()
    done = subprocess.run(command, env={"PYTHONPATH": str(COLLECTIONS)}, cwd="/", capture_output=True, text=True, check=True, timeout=600)
    seconds = time.monotonic() - began
    code, memory, busy = done.stdout.split()
    print(f"start check of 200,000 × 384: {seconds:.2f} s, {float(busy):.2f} s of a processor, {int(memory) >> 10} MiB")
    assert code == "0"
    assert int(memory) < 400 << 10


def test_a_fault_of_its_own_keeps_no_server_from_its_data(monkeypatch, capsys, tmp_path):
    def fail(_directory, _release):
        raise ValueError("a mistake")

    monkeypatch.setattr(_guard, "judge", fail)
    assert _guard.main([str(tmp_path)]) == 0
    assert "not checked: ValueError: a mistake" in capsys.readouterr().out
