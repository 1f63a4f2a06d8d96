# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken directories: SQLite's file, and what it says of tenants, databases, collections, segments and folders."""

from __future__ import annotations

import os
import shutil
import uuid

from filling import LISTS
from scene import NEW, OLD, PURGING, case

# SQLite's file


@case("CHR001")
def page_of_a_table_is_overwritten(scene):
    root = scene.one("SELECT rootpage FROM sqlite_master WHERE name = 'embedding_metadata'")
    scene.patch(scene.database, (root - 1) * 4096, os.urandom(1000))


@case("CHR001")
def sqlite_is_cut_off(scene):
    os.truncate(scene.database, scene.database.stat().st_size // 2 // 4096 * 4096)


@case("CHR002")
def sqlite_is_gone(scene):
    scene.database.unlink()


@case("CHR002")
def sqlite_is_no_database(scene):
    scene.patch(scene.database, 0, b"\0" * 4096)


@case("CHR002")
def sqlite_is_empty(scene):
    os.truncate(scene.database, 0)


@case("CHR003")
def a_newer_chroma_was_here(scene):
    scene.sql("INSERT INTO migrations VALUES ('metadb', 99, '00099-quantum.sqlite.sql', 'SELECT 1', 'x')")


@case("CHR003")
def a_newer_chroma_with_another_kind_of_migrations_was_here(scene):
    scene.sql("INSERT INTO migrations VALUES ('vectordb', 1, '00001-vectors.sqlite.sql', 'SELECT 1', 'x')")


@case("CHR004")
def a_migration_is_missing(scene):
    scene.sql("DELETE FROM migrations WHERE dir = 'metadb' AND version = 2")


@case("CHR004")
def a_migration_was_changed(scene):
    scene.sql("UPDATE migrations SET sql = sql || ' ' WHERE dir = 'sysdb' AND version = 3")


@case("CHR005")
def a_table_is_gone(scene):
    scene.sql("DROP TABLE segment_metadata")


@case("CHR005", versions=LISTS)
def the_table_of_lists_is_gone(scene):
    scene.sql("DROP TABLE embedding_metadata_array")


# Tenants, databases, collections, segments, folders


@case("CHR010")
def a_tenant_is_gone(scene):
    scene.sql("DELETE FROM tenants WHERE id = 'other'")


@case("CHR011 far")
def a_database_is_gone(scene):
    scene.sql("DELETE FROM databases WHERE name = 'elsewhere'")


@case("CHR012", "CHR064", versions=OLD)
def a_collection_is_gone_but_not_its_segments(scene):
    scene.sql("DELETE FROM collections WHERE name = 'books'")


@case("CHR012", "CHR064", "CHR016", versions=NEW)
def a_collection_is_gone_but_not_its_segments_and_metadata(scene):
    scene.sql("DELETE FROM collections WHERE name = 'books'")


@case("CHR013 books", "CHR017")
def the_vector_segment_is_gone(scene):
    scene.sql("DELETE FROM segments WHERE id = ?", scene.segment())


@case("CHR013 books", "CHR080")
def the_metadata_segment_is_gone(scene):
    scene.sql("DELETE FROM segments WHERE id = ?", scene.segment("METADATA"))


@case("CHR014 few")
def two_collections_have_one_name(scene):
    scene.sql("CREATE TABLE other AS SELECT * FROM collections")
    scene.sql("DROP TABLE collections")
    scene.sql("ALTER TABLE other RENAME TO collections")
    scene.sql("UPDATE collections SET name = 'few' WHERE name = 'empty'")


@case("CHR015 books")
def a_collection_has_two_vector_segments(scene):
    columns = [row[1] for row in scene.sql("PRAGMA table_info(segments)")]
    chosen = ", ".join("?" if column == "id" else column for column in columns)
    scene.sql(f"INSERT INTO segments SELECT {chosen} FROM segments WHERE id = ?", str(uuid.uuid4()), scene.segment())


@case("CHR016", versions=NEW)
def metadata_of_no_collection(scene):
    scene.sql("INSERT INTO collection_metadata (collection_id, key, str_value) VALUES (?, 'a', 'b')", str(uuid.uuid4()))


@case("CHR017")
def a_folder_belongs_to_nobody(scene):
    shutil.copytree(scene.folder(), scene.path / str(uuid.uuid4()))


@case("CHR017")
def a_folder_has_the_name_of_a_collection(scene):
    shutil.copytree(scene.folder(), scene.path / scene.id())


@case("CHR021 books")
def the_id_of_a_segment_leads_outside(scene):
    outside, segment = scene.path.parent / "outside", scene.segment()
    shutil.move(scene.folder(), outside)
    (outside / "header.bin").unlink()  # would be found
    for table, column in (("segments", "id"), ("segment_metadata", "segment_id"), ("max_seq_id", "segment_id")):
        scene.sql(f"UPDATE {table} SET {column} = '../outside' WHERE {column} = ?", segment)


@case("CHR018 books", versions=PURGING)
def a_folder_is_gone_and_the_log_was_purged(scene):
    shutil.rmtree(scene.folder())


@case("CHR019 books", versions=("0.4.24",))
def a_folder_is_gone_and_the_log_was_never_purged(scene):
    shutil.rmtree(scene.folder())


@case("CHR019 few")
def the_folder_of_an_index_that_was_never_saved_is_gone(scene):
    shutil.rmtree(scene.folder("few"))


@case("CHR020 books", versions=PURGING)
def a_configuration_is_no_json(scene):
    scene.sql("UPDATE collections SET config_json_str = substr('{\"a\": 1', 1) WHERE name = 'books'")
