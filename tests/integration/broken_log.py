# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken directories: the log and the positions in it, and where index, log and records differ."""

from __future__ import annotations

import shutil
import sqlite3
import uuid

from filling import LISTS
from scene import NEW, OLD, PURGING, case

# Log and positions


@case("CHR060 books")
def the_position_of_the_records_is_poisoned(scene):
    scene.position("METADATA", 1_229_782_938_247_303_441)


@case("CHR060 books", versions=PURGING)
def the_position_of_the_index_is_poisoned(scene):
    scene.position("VECTOR", 1_229_782_938_247_303_441)


@case("CHR061 books", versions=NEW)
def a_position_is_a_blob(scene):
    scene.position("VECTOR", (100).to_bytes(8, "big"))


@case("CHR061 books", versions=OLD)
def a_position_is_a_number(scene):
    scene.sql("UPDATE max_seq_id SET seq_id = 100 WHERE segment_id = ?", scene.segment("METADATA"))


@case("CHR062 books")
def the_position_of_the_records_is_ahead(scene):
    scene.position("METADATA", 100_000)


@case("CHR062 books", versions=PURGING)
def the_position_of_the_index_is_ahead(scene):
    scene.position("VECTOR", 100_000)


@case("CHR063 books")
def the_index_does_not_follow(scene):
    connection = sqlite3.connect(scene.database)
    entries = [(1, scene.topic(), "id-100", "{}")] * 45_000
    connection.executemany("INSERT INTO embeddings_queue (operation, topic, id, metadata) VALUES (?, ?, ?, ?)", entries)
    connection.commit()
    connection.close()


@case("CHR064")
def a_log_entry_belongs_to_nobody(scene):
    topic = f"persistent://default/default/{uuid.uuid4()}"
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id) VALUES (3, ?, 'x')", topic)


@case("CHR065 books")
def a_log_entry_has_another_length(scene):
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue WHERE topic = ? AND vector IS NOT NULL", scene.topic())
    scene.sql("UPDATE embeddings_queue SET vector = zeroblob(31) WHERE seq_id = ?", last)


@case("CHR065 books")
def a_log_entry_has_an_unknown_operation(scene):
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id) VALUES (9, ?, 'id-100')", scene.topic())


@case("CHR066 books", versions=NEW)
def an_entry_of_0x_waits_for_1x(scene):
    metadata = '{"number": 1, "chroma:document": null}'
    scene.sql("INSERT INTO embeddings_queue (operation, topic, id, metadata) VALUES (1, ?, 'id-100', ?)", scene.topic(), metadata)


# Index, log and records


@case("CHR070 books")
def the_end_of_the_log_is_gone(scene):
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue WHERE topic = ?", scene.topic())
    scene.sql("DELETE FROM embeddings_queue WHERE operation = 2 AND topic = ? AND seq_id > ?", scene.topic(), last - 30)


@case("CHR070 books", "CHR071 books", versions=PURGING)
def the_index_is_older_than_sqlite(scene):
    shutil.rmtree(scene.folder())
    shutil.copytree(scene.early / scene.segment(), scene.folder())


@case("CHR071 books", "CHR017", versions=PURGING)
def sqlite_is_older_than_the_index(scene):
    shutil.copyfile(scene.early / "chroma.sqlite3", scene.database)


@case("CHR062 books", "CHR071 books", "CHR017", versions=("0.4.24",))
def sqlite_is_older_than_the_index_that_knows_its_position(scene):
    shutil.copyfile(scene.early / "chroma.sqlite3", scene.database)


@case("CHR071 books")
def records_are_gone(scene):
    for table in ("embedding_metadata", *(["embedding_metadata_array"] if scene.version in LISTS else [])):
        scene.sql(f"DELETE FROM {table} WHERE id = ?", scene.row("id-40"))
    scene.sql("DELETE FROM embedding_fulltext_search WHERE rowid = ?", scene.row("id-40"))
    scene.sql("DELETE FROM embeddings WHERE id = ?", scene.row("id-40"))
