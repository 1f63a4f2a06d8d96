# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deltas of real embedded clients of each release in a real object store: closed, whole, proven."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import embedding
import object_store
import pytest
import servers

NEWEST = servers.VERSIONS[-1]
# Keeps everything referenced that could hold a file: the client, a second one, a collection, a cache of collections.
WHOLE = """
client, again = opened(), opened()
books, few = filled(client), filled(client, "few", 5)
client.get_or_create_collection("empty", embedding_function=None)
elsewhere = chromadb.PersistentClient(arguments["path"] + "-other", settings=Settings(anonymized_telemetry=False))
filled(elsewhere, "notes", 10)
cache = {"books": books}
delta = Delta(client, settings=settings, collections=cache)
prefix = delta.persist_and_upload_delta("chroma", "deltas/books")
held = [name for name in map(lambda fd: os.path.realpath(f"/proc/self/fd/{fd}"), os.listdir("/proc/self/fd"))
        if name.startswith(arguments["path"] + "/")]
print(json.dumps({"prefix": prefix, "cache": cache, "held": held, "valid": delta._validate_delta_after_upload("chroma", prefix),
                  "absent": delta._validate_delta_after_upload("chroma", "deltas/absent"),
                  "elsewhere": elsewhere.get_collection("notes").count()}))
"""
READ = """
client = opened()
found = {}
for name in ("books", "few", "empty"):
    got = client.get_collection(name).get(include=["embeddings", "documents", "metadatas"])
    found[name] = sorted(zip(got["ids"], [[float(x) for x in v] for v in got["embeddings"]], got["documents"], got["metadatas"]))
print(json.dumps(found))
"""
SMALL = """
client = opened()
books = filled(client, "books", 30)
"""
UPLOAD = """
try:
    done = Delta(client, settings=settings, backoff=0.05).upload("chroma", "deltas/books")
    print(json.dumps(done.as_result()))
except ChromaError as error:
    print(json.dumps({**error.as_result(), "failed": True}))
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[object_store.ObjectStore]:
    with object_store.running() as store:
        yield store


@pytest.fixture(autouse=True)
def no_deltas(s3: object_store.ObjectStore) -> None:
    shutil.rmtree(s3.root / s3.bucket / "deltas", ignore_errors=True)


def stored(store: object_store.ObjectStore) -> dict[str, str]:
    """Return the objects below ``deltas/``, with their checksums."""
    top = store.root / store.bucket
    return {
        str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest() for path in (top / "deltas").rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("version", servers.VERSIONS)
def test_a_delta_of_every_release_is_closed_whole_and_opens(version, s3, tmp_path):
    path = tmp_path / "db"
    said, log = embedding.run(version, WHOLE, path, s3)
    assert {**said, "prefix": ""} == {"prefix": "", "cache": {}, "held": [], "valid": True, "absent": False, "elsewhere": 10}, log
    assert re.fullmatch(r"deltas/books/\d{8}T\d{6}Z-[0-9a-f]{6}", said["prefix"])
    files = {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}
    expected = {f"{said['prefix']}/{name}": hashlib.sha256(content).hexdigest() for name, content in files.items()}
    found = stored(s3)
    assert {name: found[name] for name in expected} == expected
    assert found.keys() - expected.keys() == {f"{said['prefix']}/delta.json"}
    manifest = json.loads((s3.root / s3.bucket / said["prefix"] / "delta.json").read_text())
    assert (manifest["chroma_version"], {each["name"]: each["count"] for each in manifest["collections"]}) == (
        version,
        {"books": 1500, "few": 5, "empty": 0},
    )
    back = tmp_path / "back"
    shutil.copytree(s3.root / s3.bucket / said["prefix"], back)
    original, _log = embedding.run(version, READ, path, s3)
    assert embedding.run(version, READ, back, s3)[0] == original
    assert [len(original[name]) for name in ("books", "few", "empty")] == [1500, 5, 0]


def test_every_step_is_logged(s3, tmp_path):
    _said, log = embedding.run(NEWEST, SMALL + UPLOAD, tmp_path / "db", s3)
    for step in ("closing the client", "closed:", "attempt 1: uploading", "validating what is at", "validated: Chroma", "the delta is at"):
        assert step in log
    assert s3.secret_key not in log


def test_a_directory_without_collections_is_a_delta(s3, tmp_path):
    said, _log = embedding.run(NEWEST, "client = opened()" + UPLOAD, tmp_path / "db", s3)
    assert (said["collections"], said["records"], said["validated"]) == ([], 0, NEWEST)


def test_without_validation_sizes_are_compared(s3, tmp_path):
    program = SMALL + UPLOAD.replace('"deltas/books")', '"deltas/books", validate_after_upload=False)')
    said, log = embedding.run(NEWEST, program, tmp_path / "db", s3)
    assert (said["validated"], said["attempts"]) == ("", 1)
    assert "validating" not in log
    assert f"{said['prefix']}/delta.json" in stored(s3)


@pytest.mark.parametrize(
    ("hold", "named"),
    [
        ("held = open(os.path.join(arguments['path'], 'chroma.sqlite3'), 'rb')", "open file"),
        (
            "import sqlite3\nheld = sqlite3.connect(os.path.join(arguments['path'], 'chroma.sqlite3'))\n"
            "held.execute('SELECT 1 FROM segments')",
            "sqlite3.Connection",
        ),
        (
            "import mmap\nfile = open(os.path.join(arguments['path'], 'chroma.sqlite3'), 'rb')\n"
            "held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\nfile.close()",
            "chroma.sqlite3",
        ),
    ],
    ids=["file", "connection", "map"],
)
def test_what_holds_the_directory_open_is_named_and_nothing_is_uploaded(hold, named, s3, tmp_path):
    said, _log = embedding.run(NEWEST, f"{SMALL}{hold}\n{UPLOAD}", tmp_path / "db", s3)
    assert (said["failed"], said["code"]) == (True, "still_open")
    assert "chroma.sqlite3" in said["msg"]
    assert named in said["msg"]
    assert stored(s3) == {}


def test_a_directory_that_another_process_has_open_is_refused(s3, tmp_path):
    path = tmp_path / "db"
    other = embedding.start(NEWEST, SMALL + "print('open', flush=True)\nimport time\ntime.sleep(600)", path, s3)
    try:
        assert other.stdout
        assert other.stdout.readline() == "open\n"
        said, _log = embedding.run(NEWEST, "client = opened()" + UPLOAD, path, s3)
        assert (said["code"], f"pid {other.pid}" in said["msg"]) == ("busy", True)
        assert stored(s3) == {}
    finally:
        other.kill()
        other.communicate()


def test_a_damaged_directory_is_refused_before_anything_is_uploaded(s3, tmp_path):
    path = tmp_path / "db"
    embedding.run(NEWEST, "client = opened()\nbooks = filled(client)\nprint(0)", path, s3)
    [vectors] = path.rglob("data_level0.bin")
    vectors.write_bytes(vectors.read_bytes()[: vectors.stat().st_size // 2])
    said, _log = embedding.run(NEWEST, "client = None\n" + UPLOAD.replace("Delta(client", 'Delta(path=arguments["path"]'), path, s3)
    assert (said["code"], "CHR033" in said["msg"]) == ("damaged", True)
    assert stored(s3) == {}


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ('Delta(client, settings=settings).upload("chroma", "x", max_retries=0)', "invalid_value"),
        ('Delta(client, settings=settings).upload("", "x")', "invalid_value"),
        ('Delta(client, settings=settings).upload("chroma", "/")', "invalid_value"),
        ('Delta(client).upload("chroma", "x")', "invalid_value"),
        ("Delta()", "invalid_value"),
        ("Delta(chromadb.EphemeralClient(settings=Settings(anonymized_telemetry=False)))", "invalid_value"),
        ('Delta(path=os.path.dirname(arguments["path"]), settings=settings).upload("chroma", "x")', "not_chroma_directory"),
    ],
)
def test_bad_input_is_refused_and_the_client_stays_open(call, code, s3, tmp_path):
    program = f"""{SMALL}
try:
    {call}
except ChromaError as error:
    print(json.dumps({{"code": error.code, "hint": error.hint, "count": books.count()}}))
"""
    (tmp_path / "folder").mkdir()
    said, _log = embedding.run(NEWEST, program, tmp_path / "folder" / "db", s3)
    assert (said["code"], bool(said["hint"]), said["count"]) == (code, True, 30)
    assert stored(s3) == {}


def test_the_module_uploads_a_directory(s3, tmp_path, run_module):
    path = tmp_path / "db"
    embedding.run(NEWEST, SMALL + "print(0)", path, s3)
    arguments = {
        "path": str(path),
        "bucket": "chroma",
        "prefix": "deltas/books",
        "s3_endpoint": s3.endpoint,
        "access_key": s3.access_key,
        "secret_key": s3.secret_key,
    }
    planned = run_module("chroma_delta", arguments, check_mode=True)
    assert (planned["changed"], planned["prefix"], planned["records"], stored(s3)) == (True, "deltas/books", 30, {})
    done = run_module("chroma_delta", arguments)
    assert (done["changed"], done["attempts"], done["records"]) == (True, 1, 30)
    assert f"{done['prefix']}/delta.json" in stored(s3)
    before = stored(s3)
    for wrong, code in (
        ({"bucket": "absent"}, "no_bucket"),
        ({"secret_key": "wrong"}, "forbidden"),
        ({"path": str(tmp_path)}, "not_chroma_directory"),
        ({"max_retries": 0}, "invalid_value"),
        ({"s3_endpoint": f"http://127.0.0.1:{servers.free_port()}", "backoff": 0.1, "s3_timeout": 2, "max_retries": 2}, "unreachable"),
    ):
        failed = run_module("chroma_delta", {**arguments, **wrong})
        assert (failed["code"], bool(failed["hint"])) == (code, True)
        assert s3.secret_key not in json.dumps(failed)
    assert stored(s3) == before


def test_the_journal_of_a_data_volume_is_no_part_of_a_delta(s3, tmp_path, run_module):
    path = tmp_path / "db"
    embedding.run(NEWEST, SMALL + "print(0)", path, s3)
    (path / ".thinkube-chroma").mkdir()
    (path / ".thinkube-chroma" / "journal.jsonl").write_text("{}\n")
    program = UPLOAD.replace("Delta(client", 'Delta(path=arguments["path"]')
    embedding.run(NEWEST, program, path, s3)
    assert not [name for name in stored(s3) if ".thinkube-chroma" in name]


def test_what_the_page_says_runs_without_ansible(s3, tmp_path):
    page = (embedding.ROOT / "docs" / "delta.md").read_text()
    [program] = [block for block in re.findall(r"^```python syntax\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "Delta(" in block]
    for said, meant in (
        ("/usr/share/ansible/collections", str(embedding.COLLECTIONS)),
        ("/work/index", str(tmp_path / "db")),
        ("https://s3.example.com", s3.endpoint),
        ("my-bucket", s3.bucket),
        ("my-access-key", s3.access_key),
        ("my-secret-key", s3.secret_key),
    ):
        assert said in program
        program = program.replace(said, meant)
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(embedding.libraries(NEWEST))}
    command = [str(embedding.python(NEWEST)), "-c", program + "\nprint('ansible' in sys.modules)"]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    prefix, ansible = done.stdout.split()[-2:]
    assert (f"{prefix}/delta.json" in stored(s3), ansible) == (True, "False")


def test_a_list_of_tenants_and_databases_is_opened_as_well(s3, tmp_path):
    program = """
settings_here = Settings(anonymized_telemetry=False)
admin = chromadb.AdminClient(Settings(is_persistent=True, persist_directory=arguments["path"], anonymized_telemetry=False))
admin.create_tenant("library")
admin.create_database("shelf", tenant="library")
client = chromadb.PersistentClient(arguments["path"], settings=settings_here, tenant="library", database="shelf")
books = filled(client, "books", 30)
"""
    said, _log = embedding.run(NEWEST, program + UPLOAD, tmp_path / "db", s3)
    assert said.get("collections") == ["library/shelf/books"], said
