# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken directories: the rows of records, their lists and their full text."""

from __future__ import annotations

import uuid

from filling import LISTS
from scene import PURGING, case


@case("CHR080")
def records_of_a_segment_that_is_gone(scene):
    scene.sql("INSERT INTO embeddings (segment_id, embedding_id, seq_id) VALUES (?, 'x', 1)", str(uuid.uuid4()))


@case("CHR081")
def metadata_of_no_record(scene):
    scene.sql("INSERT INTO embedding_metadata (id, key, string_value) VALUES (1000000, 'a', 'b')")


@case("CHR082", versions=LISTS)
def lists_of_no_record(scene):
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (1000000, 'a', 'b')")


@case("CHR083", versions=LISTS)
def a_record_inherited_a_list(scene):
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (?, 'number', 'b')", scene.row())


@case("CHR083", versions=LISTS)
def a_list_has_several_types(scene):
    scene.sql("INSERT INTO embedding_metadata_array (id, key, string_value) VALUES (?, 'ints', 'b')", scene.row())


@case("CHR084")
def a_document_is_not_in_the_full_text_index(scene):
    scene.sql("DELETE FROM embedding_fulltext_search WHERE rowid = ?", scene.row())


@case("CHR085", versions=PURGING)
def a_full_text_row_belongs_to_nobody(scene):
    scene.sql("INSERT INTO embedding_fulltext_search (rowid, string_value) VALUES (1000000, 'left over')")


@case("CHR086")
def a_full_text_row_has_another_text(scene):
    scene.sql("UPDATE embedding_fulltext_search SET string_value = 'something else' WHERE rowid = ?", scene.row())


@case("CHR086")
def the_full_text_index_is_empty(scene):
    scene.sql("DELETE FROM embedding_fulltext_search_data WHERE id > 10")
    scene.sql("DELETE FROM embedding_fulltext_search_idx")


@case("CHR084")
def the_full_text_index_forgot_the_length_of_a_text(scene):
    scene.sql("DELETE FROM embedding_fulltext_search_docsize WHERE id = ?", scene.row())


@case("CHR087 books")
def a_record_is_there_twice(scene):
    scene.sql("CREATE TABLE other (id INTEGER PRIMARY KEY, segment_id TEXT, embedding_id TEXT, seq_id BLOB, created_at TIMESTAMP)")
    scene.sql("INSERT INTO other SELECT * FROM embeddings")
    scene.sql("INSERT INTO other (segment_id, embedding_id, seq_id) SELECT segment_id, embedding_id, seq_id FROM embeddings WHERE id = 1")
    scene.sql("DROP TABLE embeddings")
    scene.sql("ALTER TABLE other RENAME TO embeddings")
