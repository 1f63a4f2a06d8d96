# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of findings: what each identifier means. FOR INTERNAL COLLECTION USE ONLY.

An identifier never changes its meaning and is never used again. ``docs/findings.md`` has a section for each. Repairable without
loss of anything that can still be read: ``minor``; everything else, and what somebody must look at: ``severe``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

MINOR = "minor"
SEVERE = "severe"
# Examples named in one message.
SHOWN = 5


@dataclass(frozen=True)
class Kind:
    """What a finding of one identifier means.

    Args:
        id: ``CHR`` and three digits.
        severity: ``minor`` or ``severe``.
        title: what is wrong, in a few words.
        lost: what is, or will be, lost.
        remedy: what to do.
    """

    id: str
    severity: str
    title: str
    lost: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in one place.

    Args:
        kind: what it is.
        message: what was seen, with numbers and examples.
        collection: ``tenant/database/name``; empty where no collection is concerned.
        segment: id of the segment; empty where none is concerned.
        subject: tells findings of one kind in one place apart, for example the table.
        rows: what is concerned: SQLite's rowids, or ids of records; some of it, to see whether it is the same later.
    """

    kind: Kind
    message: str
    collection: str = ""
    segment: str = ""
    subject: str = ""
    rows: tuple[int | str, ...] = field(default=(), repr=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes two findings the same one, seen twice."""
        return self.kind.id, self.collection, self.segment, self.subject

    def as_result(self) -> dict[str, Any]:
        """Return the finding as the module returns it."""
        return {
            "id": self.kind.id,
            "severity": self.kind.severity,
            "title": self.kind.title,
            "collection": self.collection,
            "segment": self.segment,
            "message": self.message,
            "lost": self.kind.lost,
            "remedy": self.kind.remedy,
        }


def some(values: Sequence[object]) -> str:
    """Return the first values in words: ``a, b, c and 7 more``."""
    shown = ", ".join(str(value) for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown} and {len(values) - SHOWN} more"


_BACKUP = "Restore the newest verified backup (30_restore), or recover what can still be read (42_recover)."
_NOTHING = "Nothing."
_REPAIR = "41_repair puts the rows into quarantine; nothing that Chroma shows changes."
_ANEW = "42_recover makes the collection anew from its vectors, which are still there; or restore (30_restore)."
_POSITION = "Stop writing. Recover the collection (42_recover), or restore (30_restore)."
_SEARCH = "41_repair builds the full-text index anew."
_REPLAY = "Vectors that the write-ahead log no longer holds."

_TABLE = (
    # The SQLite file
    Kind("CHR001", SEVERE, "SQLite finds its file damaged", "Rows on the damaged pages, of any collection.", _BACKUP),
    Kind("CHR002", SEVERE, "chroma.sqlite3 is missing or no database", "Every collection's name, documents, metadata and ids.",
         "Stop the server before it creates an empty database. Look for the file (a moved mount?), then restore."),
    Kind("CHR003", SEVERE, "Migrations of a newer Chroma", "Nothing yet; an older server on this data can damage it.",
         "Use a Chroma at least as new as the one that wrote the directory, and a newer release of this collection."),
    Kind("CHR004", SEVERE, "Migrations have gaps or were changed",
         "Nothing yet; Chroma refuses to start or runs on a schema it does not know.",
         "Restore a backup from before somebody changed the database."),
    Kind("CHR005", SEVERE, "A table or column is missing", "The rows of that table.", _BACKUP),
    Kind("CHR006", SEVERE, "A file cannot be read", "Unknown: it was not looked at.",
         "Mend owner and mode of the files, or the disk, then validate again."),
    # Tenants, databases, collections, segments, folders
    Kind("CHR010", SEVERE, "A database belongs to no tenant", "Its collections cannot be reached by name.",
         "Create the tenant again, with the same name."),
    Kind("CHR011", SEVERE, "A collection belongs to no database", "The collection cannot be reached by name.", _BACKUP),
    Kind("CHR012", MINOR, "A segment belongs to no collection", "Nothing that Chroma shows.",
         "41_repair puts its rows and its folder into quarantine."),
    Kind("CHR013", SEVERE, "A collection lacks a segment", "Vectors or documents of the collection cannot be reached.", _BACKUP),
    Kind("CHR014", SEVERE, "Two collections of one name, or two databases", "One of the two cannot be reached by name.",
         "Rename one by its id, or restore."),
    Kind("CHR015", SEVERE, "Two segments of one kind in a collection", "Writes and reads may use different ones.", _BACKUP),
    Kind("CHR016", MINOR, "Settings or metadata of nothing", _NOTHING, _REPAIR),
    Kind("CHR017", MINOR, "A folder without segment", "Nothing that Chroma shows: the vectors of a deleted collection.",
         "41_repair puts the folder into quarantine."),
    Kind("CHR018", SEVERE, "The folder of an index is missing", _REPLAY, _BACKUP),
    Kind("CHR019", MINOR, "An index is missing or half saved, the log is complete",
         _NOTHING, "The next start of Chroma builds it again from the log."),
    Kind("CHR020", SEVERE, "A collection's configuration cannot be read", "Chroma cannot load the collection.",
         "Restore the row from a backup."),
    Kind("CHR021", SEVERE, "The id of a collection or segment is no UUID", "Its index is out of reach for Chroma and for exports.",
         "Somebody edited the database. Restore the row from a backup."),
    # Files of an index
    Kind("CHR030", SEVERE, "header.bin is missing or cut off", _REPLAY, _BACKUP),
    Kind("CHR031", SEVERE, "header.bin contradicts itself", _REPLAY, _BACKUP),
    Kind("CHR032", SEVERE, "Dimensions differ", "Chroma refuses queries or reads vectors wrongly.", _BACKUP),
    Kind("CHR033", SEVERE, "data_level0.bin is missing or too short", "The vectors beyond its end.", _BACKUP),
    Kind("CHR034", MINOR, "data_level0.bin is longer than the index", _NOTHING,
         "41_repair cuts it to whole elements, with the server stopped."),
    Kind("CHR035", SEVERE, "length.bin is missing or does not fit", "The index cannot be loaded; its vectors are still there.", _ANEW),
    Kind("CHR036", SEVERE, "link_lists.bin is missing or does not fit", "The index cannot be loaded; its vectors are still there.", _ANEW),
    Kind("CHR037", SEVERE, "link_lists.bin has grown out of proportion", "The disk fills up.", _ANEW),
    Kind("CHR038", SEVERE, "Vectors that are no numbers", "These records cannot be found by a query and may disturb others.",
         "Upsert these records again with proper embeddings."),
    Kind("CHR039", SEVERE, "Links of the index point nowhere", "The server may die of a segmentation fault; the vectors are still there.",
         "Stop the server. " + _ANEW),
    # Label map
    Kind("CHR050", SEVERE, "The label map is missing",
         _REPLAY + " Their ids are lost, and Chroma silently starts an empty index.", _BACKUP),
    Kind("CHR051", SEVERE, "The label map is torn", _REPLAY + " Their ids are lost, and Chroma silently starts an empty index.", _BACKUP),
    Kind("CHR052", SEVERE, "The label map would run code", "Unknown: whoever wrote it could write here.",
         "Do not start Chroma 0.x on this directory. Find out who wrote the file; restore."),
    Kind("CHR053", SEVERE, "The label map is not one to one", "Some vectors are returned under another record's id.", _BACKUP),
    Kind("CHR054", SEVERE, "Labels without vector", "The vectors of these records, unless the log holds them.", _BACKUP),
    Kind("CHR055", MINOR, "Vectors without label", "Nothing: nobody knows their ids. But 1.x answers queries that meet them with 500.",
         "The next start replays the log; if the finding stays, 41_repair marks them as deleted."),
    # Log and positions
    Kind("CHR060", SEVERE, "A position is poisoned", "Every later write to the collection is silently ignored.",
         _POSITION),
    Kind("CHR061", SEVERE, "A position has the wrong type", "Chroma cannot load the collection, or misreads the position.",
         "Recover the collection (42_recover), or restore (30_restore)."),
    Kind("CHR062", SEVERE, "A position is ahead of the log", "Later writes are silently ignored until the log catches up.",
         _POSITION),
    Kind("CHR063", MINOR, "The index is far behind the log", "Nothing; starting takes long and memory grows.",
         "Restart Chroma and write once, then look again."),
    Kind("CHR064", MINOR, "Log entries of no collection", "Nothing that Chroma shows.", _REPAIR),
    Kind("CHR065", SEVERE, "Log entries that cannot be replayed", "The vectors of these entries.", "Upsert these records again."),
    Kind("CHR066", SEVERE, "Log entries of 0.x that stop a server of 1.x",
         "Nothing; but every write, to any collection, is answered with 500.",
         "41_repair with chroma_repair_findings=CHR066 takes the nulls out, with the server stopped; nothing is lost."),
    # Sets
    Kind("CHR070", SEVERE, "Records without vector", "The vectors of these records: no query finds them.", _BACKUP),
    Kind("CHR071", SEVERE, "Vectors without record", "Documents and metadata of these ids, or a deletion was not applied.",
         "Delete the ids again if they were deleted; otherwise restore."),
    # Records
    Kind("CHR080", MINOR, "Records of a collection that is gone", "Nothing that Chroma shows; their text is still on the disk.", _REPAIR),
    Kind("CHR081", MINOR, "Metadata of no record", "Nothing that Chroma shows; a later record may inherit it.", _REPAIR),
    Kind("CHR082", MINOR, "List metadata of no record", "Nothing yet: later records inherit it, also those of other collections.", _REPAIR),
    Kind("CHR083", SEVERE, "Records with another record's list metadata", "Filters and answers show values that were never written here.",
         "Upsert these records' metadata again."),
    Kind("CHR084", MINOR, "Documents missing from the full-text index", "Searches in documents do not find them.", _SEARCH),
    Kind("CHR085", MINOR, "Full-text rows of no record", "Nothing; text of deleted records is still on the disk.", _REPAIR),
    Kind("CHR086", MINOR, "The full-text index differs from the documents", "Searches in documents find wrong ones or fail.", _SEARCH),
    Kind("CHR087", SEVERE, "A record exists twice", "One of the two is shown, by chance.", "Delete and upsert these records."),
    # Environment
    Kind("CHR100", SEVERE, "The directory lies on a network file system", "SQLite's locks are unreliable there: any of it, at any time.",
         "Move the data to a local or block device."),
    Kind("CHR101", SEVERE, "The directory does not survive the container", "Everything, at the next restart.",
         "Mount the volume at the path that Chroma writes to."),
    Kind("CHR102", MINOR, "Little free space", "Nothing yet: the next vacuum or save of an index may have no room.", "Grow the volume."),
    Kind("CHR103", SEVERE, "No free space", "Writes fail, and an index that is being saved is torn.", "Grow the volume now."),
)  # fmt: skip

KINDS = {kind.id: kind for kind in _TABLE}
# Of the place where a directory lies; its data may be whole.
PLACE = frozenset({"CHR100", "CHR101", "CHR102", "CHR103"})


def finding(
    identifier: str, message: str, collection: str = "", segment: str = "", subject: str = "", rows: Sequence[int | str] = ()
) -> Finding:
    """Return a finding of the catalogue; see :class:`Finding` for the arguments."""
    return Finding(KINDS[identifier], message, collection, segment, subject, tuple(rows))
