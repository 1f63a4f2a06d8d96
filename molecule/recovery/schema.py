# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drop the schema of a table in PostgreSQL, and create it anew: schema.py FILE-OF-CREDENTIALS SCHEMA.TABLE [create]."""

import sys
from pathlib import Path

import psycopg
from psycopg import sql

values = dict(line.split("=", 1) for line in Path(sys.argv[1]).read_text().splitlines())
place = {"host": values["DB_HOST"], "port": values["DB_PORT"], "dbname": values["DB_NAME"]}
schema = sql.Identifier(sys.argv[2].partition(".")[0])
with psycopg.connect(**place, user=values["DB_USER"], password=values["DB_PASSWORD"]) as connection:
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
    if sys.argv[3:] == ["create"]:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
