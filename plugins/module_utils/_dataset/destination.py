# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an export writes, so that half a dataset is never taken for one. FOR INTERNAL COLLECTION USE ONLY.

A directory: all is written to ``<destination>.partial``, which is renamed when it is complete. An object store renames nothing: there
the parts get their names at once and the manifest, which makes them a dataset, comes last. ``state.json`` names what is finished.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import MANIFEST, Manifest, Part, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, check_sizes, sync
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.vdf import VDF_META
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

STATE = "_state.json"


@dataclass(frozen=True)
class State:
    """What an export has finished.

    Args:
        key: of what is exported; another export does not go on with these parts.
        suffix: of the names of the parts.
        parts: collection id → its finished parts.
    """

    key: str
    suffix: str = ""
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)

    def with_part(self, collection: str, part: Part) -> State:
        """Return the state after one more part."""
        return State(self.key, self.suffix, {**self.parts, collection: (*self.parts.get(collection, ()), part)})


class Destination:
    """A place for one dataset.

    Args:
        final: where the dataset is when it is complete.

    Attributes:
        work: where it is written.
    """

    def __init__(self, final: Store) -> None:
        self.final = final
        self.work = Store(final.filesystem, f"{final.root}.partial", f"{final.location}.partial", True) if final.local else final

    def existing(self) -> Manifest | None:
        """Return the manifest of the dataset that is there; None where there is none.

        Raises:
            ChromaError: ``not_empty`` where something else is there.
        """
        content = self.final.read(MANIFEST)
        if content is not None:
            return parse_manifest(content, self.final.location)
        others = () if self.state() and not self.final.local else self.final.files()
        if others:
            message = f"{self.final.location} is no dataset, but it is not empty: it holds {min(others)}."
            raise ChromaError("not_empty", message, "Choose another destination, or remove what is there.")
        return None

    def state(self) -> State | None:
        """Return what an interrupted export has finished; None where there was none."""
        content = self.work.read(STATE)
        if content is None:
            return None
        try:
            loaded = json.loads(content)
            parts = {key: tuple(Part(**each) for each in parts) for key, parts in loaded["parts"].items()}
            return State(loaded["key"], loaded["suffix"], parts)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # of another release: nothing of it is used

    def save(self, state: State) -> None:
        """Write down what is finished."""
        self.work.write(STATE, json.dumps(asdict(state)).encode())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second export to the same directory out; on an object store nothing can.

        Raises:
            ChromaError: ``busy``.
        """
        if not self.final.local:
            yield
            return
        handle = self._locked()
        try:
            yield
        finally:
            os.close(handle)
            # Where nothing was to be done after all.
            with contextlib.suppress(OSError):
                os.rmdir(self.work.root)

    def _locked(self) -> int:
        """Return a handle of the directory that is written to; the lock goes with it."""
        while True:
            with self._reported("Could not write"):
                os.makedirs(self.work.root, exist_ok=True)
                handle = os.open(self.work.root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                # Some network file systems can't lock a directory; there nothing keeps the second one out.
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    os.close(handle)
                    message = f"Another export is writing to {self.work.location}."
                    raise ChromaError("busy", message, "Wait until it is done.") from error
            # The other one may just have finished, and given what was locked its final name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(self.work.root)):
                    return handle
            os.close(handle)

    def clear(self, kept: set[str]) -> None:
        """Remove what earlier exports left of parts and state; ``kept`` are paths that stay."""
        for path in self.work.files():
            if path not in kept and (self.final.local or path == STATE or path.startswith("collections/")):
                self.work.remove(path)
        if self.final.local:
            for folder, _folders, _files in os.walk(self.work.root, topdown=False):
                # Those that still hold something stay, and so does the one that is locked.
                with contextlib.suppress(OSError):
                    if folder != self.work.root:
                        os.rmdir(folder)

    def commit(self, manifest: Manifest, files: Mapping[str, bytes]) -> None:
        """Make the dataset appear under its name.

        Args:
            manifest: of the parts that are written.
            files: path → content, the manifest last.

        Raises:
            ChromaError: ``manifest_mismatch`` where the store does not hold what was written.
        """
        check_sizes(self.work, manifest)
        for path, content in files.items():
            self.work.write(path, content)
        if self.final.local:
            self.clear(_named(manifest))
            self._rename()
        self.tidy(manifest)

    def tidy(self, manifest: Manifest) -> None:
        """Remove what was only needed until the dataset was complete, also where that was cut short."""
        if self.final.local:
            shutil.rmtree(self._replaced, ignore_errors=True)
        else:
            self.clear(_named(manifest))

    @property
    def _replaced(self) -> str:
        return f"{self.final.root}.replaced"

    def _rename(self) -> None:
        final = self.final.root
        with self._reported("Could not finish"):
            if os.path.exists(os.path.join(final, MANIFEST)):
                shutil.rmtree(self._replaced, ignore_errors=True)
                os.rename(final, self._replaced)
            os.rename(self.work.root, final)
            sync(os.path.dirname(final))

    @contextlib.contextmanager
    def _reported(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise store_fault(f"{action} {self.final.location}", error, self.final.local) from error


def _named(manifest: Manifest) -> set[str]:
    """Return the paths of all files of a dataset."""
    return {MANIFEST, VDF_META, *(part.path for each in manifest.collections for part in each.parts)}


def state_key(content: Any) -> str:
    """Return the key of a state: equal for equal content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
