# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which PostgreSQL, and which table: settings that can't be right are refused before anything is asked."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import (
    MOST_TABLE,
    PostgresSettings,
    TableName,
    checked,
    parse_table,
    settings_from_environment,
)

NEEDED = {"DB_HOST": "postgres", "DB_NAME": "vectors", "DB_USER": "chroma"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("chroma_data", TableName("", "chroma_data")),
        ("backups.chroma_data", TableName("backups", "chroma_data")),
        ('x"; DROP TABLE y; --', TableName("", 'x"; DROP TABLE y; --')),
        ("Sicherung ä 漢字", TableName("", "Sicherung ä 漢字")),
        ("x" * MOST_TABLE, TableName("", "x" * MOST_TABLE)),
    ],
)
def test_any_name_that_postgresql_takes_is_one(text, name):
    assert parse_table(text) == name


@pytest.mark.parametrize("text", ["", ".", "schema.", ".table", "a.b.c", "nul\0", "half \ud800", "x" * (MOST_TABLE + 1), "ä" * MOST_TABLE])
def test_a_name_that_postgresql_does_not_take_or_would_cut_off_is_refused(text):
    with pytest.raises(ChromaError) as refused:
        parse_table(text)
    assert refused.value.code == "invalid_value"


@pytest.mark.parametrize(
    "changed", [{"host": ""}, {"name": "a\0b"}, {"user": ""}, {"port": 0}, {"port": 65536}, {"sslmode": "full"}, {"table": "a.b.c"}]
)
def test_settings_that_can_not_be_right_are_refused(changed):
    with pytest.raises(ChromaError) as refused:
        checked(PostgresSettings(**{"host": "postgres", "name": "vectors", "user": "chroma", **changed}))
    assert refused.value.code == "invalid_value"


def test_the_environment_says_all_of_it():
    said = {"DB_PORT": "5433", "DB_PASSWORD": "secret", "DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": "/ca.pem", "BACKUP_TABLE": "s.t"}
    assert settings_from_environment({**NEEDED, **said}) == PostgresSettings(
        "postgres", "vectors", "chroma", "secret", 5433, "verify-full", "/ca.pem", "s.t"
    )


def test_what_the_environment_leaves_empty_is_as_usual():
    empty = dict.fromkeys(("DB_PORT", "DB_PASSWORD", "DB_SSLMODE", "DB_SSLROOTCERT", "BACKUP_TABLE"), "")
    assert settings_from_environment({**NEEDED, **empty}) == PostgresSettings("postgres", "vectors", "chroma")


@pytest.mark.parametrize("broken", [{"DB_HOST": ""}, {"DB_PORT": "many"}, {"DB_PORT": "-1"}, {"DB_SSLMODE": "yes"}])
def test_an_environment_that_can_not_be_right_is_refused(broken):
    with pytest.raises(ChromaError) as refused:
        settings_from_environment({**NEEDED, **broken})
    assert refused.value.code == "invalid_value"
    assert next(iter(broken)) in refused.value.message


def test_the_password_is_in_no_representation():
    assert "secret" not in repr(PostgresSettings("postgres", "vectors", "chroma", "secret"))
