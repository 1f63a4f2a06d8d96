# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that speak to PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the database, and which table."""

    DOCUMENTATION = r"""
options:
  db_host:
    description:
      - Name or address of the PostgreSQL server, or the directory of its Unix socket.
      - Taken from the environment variable E(DB_HOST) where it is not set.
    type: str
    required: true
  db_port:
    description:
      - Port of the PostgreSQL server.
      - Taken from the environment variable E(DB_PORT) where it is not set.
    type: int
    default: 5432
  db_name:
    description:
      - Name of the database.
      - Taken from the environment variable E(DB_NAME) where it is not set.
    type: str
    required: true
  db_user:
    description:
      - Who signs in.
      - Taken from the environment variable E(DB_USER) where it is not set.
    type: str
    required: true
  db_password:
    description:
      - The password.
      - Taken from the environment variable E(DB_PASSWORD) where it is not set.
    type: str
  db_sslmode:
    description:
      - Whether the connection is encrypted, and the server's certificate checked, as libpq's C(sslmode).
      - Taken from the environment variable E(DB_SSLMODE) where it is not set.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: prefer
  db_sslrootcert:
    description:
      - File of PEM certificates that the server's certificate is checked with, on the host where the module runs.
      - Taken from the environment variable E(DB_SSLROOTCERT) where it is not set.
    type: path
  backup_table:
    description:
      - The table that holds what is exported, C(table) or C(schema.table). Names are quoted, so upper and lower case count.
      - Others are made beside it - C(TABLE_generations), C(TABLE_current), and C(TABLE_gN) for each generation.
      - Taken from the environment variable E(BACKUP_TABLE) where it is not set.
    type: str
    default: chroma_data
notes:
  - Works with PostgreSQL 14 and later.
  - Needs psycopg 3 beside the data plane's other Python libraries (C(requirements-data.txt)).
"""
