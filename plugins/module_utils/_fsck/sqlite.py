# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite's file itself, and the migrations that were applied to it. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import MIGRATIONS
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.database import Database
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import Finding, finding, some

# MD5 of each migration's text, by directory and version, as 0.4.24 to 1.5.9 record it; metadb 6 and sysdb 10 are those of 1.5.9.
HASHES = {
    ("embeddings_queue", 1): "d3755dfd232be8e8301f4d7fcfb3a486",
    ("embeddings_queue", 2): "8fbfe4ffb3e57f1d8bfdc58510a82e85",
    ("metadb", 1): "2b4cf52c4bb2676e21d6860a4409f856",
    ("metadb", 2): "12a570f7121b3a8ce750a2a7c36da20f",
    ("metadb", 3): "f97ad6334aeaa8f419f01110b648b97a",
    ("metadb", 4): "fb36603a45ee2cd0254cef3ef86585e8",
    ("metadb", 5): "0e9de46758761b373ce682925edcc326",
    ("metadb", 6): "e026f01ea92c1baa1493f4ad5ca7cfe7",
    ("sysdb", 1): "38352d725ad1c16074fac420b22b4633",
    ("sysdb", 2): "2913cb6a503055a95f625448037e8912",
    ("sysdb", 3): "42d22d0574d31d419c2a0e7f625c93aa",
    ("sysdb", 4): "048867ce8fcdefe4023c7110e4433591",
    ("sysdb", 5): "b1367c826b8fba5f96f27befdc1d42d2",
    ("sysdb", 6): "4eea7468935bf25d4604a0fed2366116",
    ("sysdb", 7): "1c7e63bba346a42a18b6ab7f1c989bed",
    ("sysdb", 8): "0a0e7e93111a01789addf64961c6127c",
    ("sysdb", 9): "054355aef9e63702bf54ea29e61563f1",
    ("sysdb", 10): "5c3a5ac4b79df76799b4721827ed5e1d",
}
# Errors that SQLite lists at most.
_MOST = 20


def quick_check(database: Database) -> list[Finding]:
    """Let SQLite check its file: every page, every row, no index's content (``PRAGMA quick_check``)."""
    rows = [str(row[0]) for row in database.rows(f"PRAGMA quick_check({_MOST})")]
    return [] if rows == ["ok"] else [finding("CHR001", f"quick_check: {some(rows)}.")]


def newer_migrations(migrations: Sequence[tuple[str, int, str, str, str]]) -> list[str]:
    """Return the migrations that no known release has."""
    return [f"{row[0]}/{row[2]}" for row in migrations if row[1] > len(MIGRATIONS.get(row[0], ()))]


def check_migrations(migrations: Sequence[tuple[str, int, str, str, str]]) -> list[Finding]:
    """Check that the migrations are known, unchanged and without gaps, as Chroma does when it starts.

    Args:
        migrations: directory, version, file name, text and hash of each.
    """
    if newer := newer_migrations(migrations):
        return [finding("CHR003", f"Not known: {some(newer)}.")]
    found = []
    for directory in sorted(MIGRATIONS):
        versions = sorted(row[1] for row in migrations if row[0] == directory)
        if versions != list(range(1, len(versions) + 1)) or not versions:
            found.append(finding("CHR004", f"{directory} has the migrations {some(versions) or 'none'}.", subject=directory))
    for directory, version, name, text, recorded in migrations:
        right = hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
        # Chroma may be told to record SHA-256 instead (migrations_hash_algorithm); the text is what counts.
        if right != HASHES.get((directory, version)):
            found.append(finding("CHR004", f"The text of {directory}/{name} is not Chroma's.", subject=f"{directory}/{version}"))
        elif len(recorded) == len(right) and recorded != right:
            found.append(finding("CHR004", f"The hash of {directory}/{name} is not that of its text.", subject=f"{directory}/{version}"))
    return found
