# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the exchange of a data directory's content has come, in ``swap.json``. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import PRIVATE
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.places import sync

SWAP = "swap.json"
STAGING, REPLACED, STRAYS = "staging", "replaced", "strays"
# What is in the repository and only has to be deleted; and what was replaced and never could be proven to be there.
REMOVED, KEPT = "removed", "kept"

# States of a swap. Of the first two it is not known how far it got; none of its entries is moved any more in the others.
FORWARD, BACK, SWAPPED, FINISHED, GIVEN_UP = "forward", "back", "swapped", "finished", "given-up"
UNSETTLED = (FORWARD, BACK)


@dataclass(frozen=True)
class Swap:
    """The content of ``swap.json``.

    Args:
        operation: that swaps; a name for folders.
        backup: id of what is brought in.
        restore_point: id of what the directory held; empty where it was empty.
        staged: folder of the new entries, relative to ``.thinkube-chroma``.
        old, new: names of the entries that go, and that come.
        state: see above.
        content: of the new entries, see :func:`request.content_of`.
    """

    operation: str
    backup: str
    restore_point: str
    staged: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    state: str = FORWARD
    content: str = ""

    @property
    def settled(self) -> bool:
        """Whether every entry is where it belongs."""
        return self.state not in UNSETTLED


def kept_folder(directory: Path, swap: Swap) -> Path:
    """Return where :func:`keep_aside` moves what a swap replaced."""
    return directory / PRIVATE / KEPT / (swap.restore_point or swap.operation)


def replaced_folder(directory: Path, swap: Swap) -> Path:
    """Return where a swap keeps what was there before."""
    return directory / PRIVATE / REPLACED / swap.operation


def read_swap(directory: Path) -> Swap | None:
    """Return the last swap of a directory; None where there was none.

    Raises:
        ChromaError: ``invalid_swap`` where the file is there and can't be read.
    """
    path = directory / PRIVATE / SWAP
    try:
        loaded = json.loads(path.read_bytes())
        names = {each.name for each in dataclasses.fields(Swap)}
        known = {key: tuple(value) if key in ("old", "new") else str(value) for key, value in loaded.items() if key in names}
        found = Swap(**known)  # type: ignore[arg-type]
        if found.state not in (*UNSETTLED, SWAPPED, FINISHED, GIVEN_UP):
            raise ValueError(f"its state is {found.state!r}")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise ChromaError(
            "invalid_swap",
            f"{path} can't be used: {error}.",
            f"Do not start the server. Look into {path.parent}: staging holds what was to come in, replaced what was there before.",
        ) from error
    return found


def write_swap(directory: Path, swap: Swap) -> None:
    """Write ``swap.json``: when this returns, it is on disk as a whole; before, the former one is."""
    folder = directory / PRIVATE
    made = folder / f".{SWAP}.new"
    with made.open("wb") as file:
        file.write(json.dumps(dataclasses.asdict(swap), indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    made.rename(folder / SWAP)
    sync(folder)
