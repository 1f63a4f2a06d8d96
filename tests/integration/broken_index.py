# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken directories: the files of an index, and its label map."""

from __future__ import annotations

import os
import random
import shutil
import struct

from scene import PURGING, case

# Files of an index


@case("CHR030 books")
def the_header_is_gone(scene):
    (scene.folder() / "header.bin").unlink()


@case("CHR030 books")
def the_header_is_torn(scene):
    os.truncate(scene.folder() / "header.bin", 48)


@case("CHR030 books")
def the_header_is_empty(scene):
    os.truncate(scene.folder() / "header.bin", 0)


@case("CHR031 books")
def the_header_counts_more_than_there_is_room_for(scene):
    scene.patch(scene.folder() / "header.bin", 4 + 2 * 8, struct.pack("<Q", 1 << 60))


@case("CHR031 books")
def the_header_is_noise(scene):
    (scene.folder() / "header.bin").write_bytes(random.Random(5).randbytes(100))


@case("CHR032 books", "CHR065 books")
def the_dimension_was_changed(scene):
    scene.sql("UPDATE collections SET dimension = 16 WHERE name = 'books'")


@case("CHR032 books")
def the_dimension_is_unknown(scene):
    scene.sql("UPDATE collections SET dimension = NULL WHERE name = 'books'")


@case("CHR033 books", "CHR054 books")
def the_vectors_are_cut_off(scene):
    os.truncate(scene.folder() / "data_level0.bin", scene.element(60) + 17)


@case("CHR033 books")
def the_vectors_are_gone(scene):
    (scene.folder() / "data_level0.bin").unlink()


@case("CHR033 books", "CHR054 books")
def the_vectors_are_empty(scene):
    os.truncate(scene.folder() / "data_level0.bin", 0)


@case("CHR034 books")
def the_vectors_are_longer(scene):
    file = scene.folder() / "data_level0.bin"
    os.truncate(file, file.stat().st_size + 5)


@case("CHR035 books")
def the_lengths_are_gone(scene):
    (scene.folder() / "length.bin").unlink()


@case("CHR035 books")
def the_lengths_are_cut_off(scene):
    os.truncate(scene.folder() / "length.bin", 40)


@case("CHR036 books")
def the_links_are_gone(scene):
    (scene.folder() / "link_lists.bin").unlink()


@case("CHR036 books")
def the_links_are_cut_off(scene):
    file = scene.folder() / "link_lists.bin"
    os.truncate(file, file.stat().st_size - 3)


@case("CHR037 books")
def the_links_have_grown(scene):
    os.truncate(scene.folder() / "link_lists.bin", 64 << 20)  # sparse


@case("CHR038 books")
def a_vector_holds_nan(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + 132 + 8, struct.pack("<f", float("nan")))


@case("CHR038 books")
def a_vector_holds_infinities(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + 132, struct.pack("<2f", float("inf"), float("-inf")))


@case("CHR038 books")
def a_vector_in_the_log_holds_nan(scene):
    last = scene.one("SELECT max(seq_id) FROM embeddings_queue WHERE topic = ? AND vector IS NOT NULL", scene.topic())
    scene.sql("UPDATE embeddings_queue SET vector = ? WHERE seq_id = ?", struct.pack("<8f", *[float("nan")] * 8), last)


@case("CHR039 books")
def a_link_points_nowhere(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(9) + 4, struct.pack("<I", 1_000_000))


@case("CHR039 books")
def an_element_has_more_links_than_there_is_room_for(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(9), struct.pack("<H", 60_000))


@case("CHR039 books")
def the_entry_point_is_nowhere(scene):
    scene.patch(scene.folder() / "header.bin", 4 + 6 * 8 + 4, struct.pack("<I", 1_000_000))


@case("CHR039 books")
def the_higher_links_are_zeros(scene):
    file = scene.folder() / "link_lists.bin"
    file.write_bytes(bytes(file.stat().st_size))


@case("CHR039 books")
def the_higher_links_end_in_zeros(scene):
    start, _level = scene.higher_links()[scene.header()[8]]
    file = scene.folder() / "link_lists.bin"
    content = file.read_bytes()
    file.write_bytes(content[:start] + bytes(len(content) - start))


@case("CHR039 books")
def the_higher_links_are_empty(scene):
    os.truncate(scene.folder() / "link_lists.bin", 0)


@case("CHR039 books")
def higher_links_lead_to_elements_that_have_none(scene):
    elements = scene.higher_links()
    start, level = elements[scene.header()[8]]
    low = [row for row, (_start, level) in enumerate(elements) if not level][:16]
    scene.patch(scene.folder() / "link_lists.bin", start + 4, struct.pack("<17I", 16, *low) * level)


# Label map


@case("CHR050 books", versions=PURGING)
def the_label_map_is_gone(scene):
    (scene.folder() / "index_metadata.pickle").unlink()


@case("CHR019 books", versions=("0.4.24",))
def the_label_map_is_gone_and_the_log_was_never_purged(scene):
    (scene.folder() / "index_metadata.pickle").unlink()


@case("CHR019 few")
def the_first_save_of_an_index_was_killed(scene):
    half_saved(scene)


@case("CHR019 few")
def the_first_save_of_an_index_was_killed_and_tore_its_header(scene):
    half_saved(scene)
    os.truncate(scene.folder("few") / "header.bin", 48)


def half_saved(scene):
    """Leave of the index that was never saved what is written before the label map."""
    for file in scene.folder().iterdir():
        if file.name != "index_metadata.pickle":
            shutil.copy(file, scene.folder("few"))


@case("CHR051 books")
def the_label_map_is_torn(scene):
    file = scene.folder() / "index_metadata.pickle"
    os.truncate(file, file.stat().st_size // 2)


@case("CHR051 books")
def the_label_map_is_empty(scene):
    os.truncate(scene.folder() / "index_metadata.pickle", 0)


@case("CHR051 books")
def the_label_map_is_noise(scene):
    (scene.folder() / "index_metadata.pickle").write_bytes(b"\x80\x04" + b"\x00" * 500 + b".")


@case("CHR052 books")
def the_label_map_would_run_a_command(scene):
    marker = scene.path.parent / "executed"
    command = f"touch {marker}".encode()
    (scene.folder() / "index_metadata.pickle").write_bytes(b"cposix\nsystem\n(X" + struct.pack("<I", len(command)) + command + b"tR.")


@case("CHR053 books", "CHR055 books")
def two_ids_have_one_label(scene):
    scene.relabel("id_to_label", 3, 4)


@case("CHR053 books")
def the_halves_of_the_label_map_differ(scene):
    scene.relabel("label_to_id", 3, 4)


@case("CHR054 books", "CHR055 books")
def an_element_has_another_label(scene):
    size, offset = scene.header()[4], scene.header()[5]
    assert size == offset + 8
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + offset, struct.pack("<Q", 77_777))


@case("CHR054 books")
def an_element_is_marked_as_deleted(scene):
    scene.patch(scene.folder() / "data_level0.bin", scene.element(40) + 2, b"\x01")
