# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an export writes, so that half a dataset is never taken for one. FOR INTERNAL COLLECTION USE ONLY.

A directory: all is written to ``<destination>.partial``, which is renamed when it is complete. An object store renames nothing: there
the parts get their names at once and the manifest, which makes them a dataset, comes last. ``_state.json`` names what is finished.

An object store can't keep a second export out either. So each run names its parts by a suffix of its own, nothing is removed before the
manifest of another dataset is there, and then only what the state or the manifest before it named.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import MANIFEST, Manifest, Part, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import UNFINISHED, Store, check_sizes, read_manifest, sync
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.vdf import VDF_META
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

STATE = "_state.json"

_PART = re.compile(r"collections/[^/]+/part-\d{5,}(|-[0-9a-f]+)\.parquet")


@dataclass(frozen=True)
class State:
    """What an export has finished.

    Args:
        key: of what is exported; another export does not go on with these parts.
        suffixes: of the names of parts that are here; the last is of the run that is writing. All of them in a directory have none.
        parts: collection id → its finished parts.
        began: moment of the first part's beginning, seconds since 1970.
    """

    key: str
    suffixes: tuple[str, ...] = ("",)
    parts: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    began: float = field(default_factory=time.time)

    def with_part(self, collection: str, part: Part) -> State:
        """Return the state after one more part."""
        return replace(self, parts={**self.parts, collection: (*self.parts.get(collection, ()), part)})

    def path(self, collection: str, number: int) -> str:
        """Return the path of a part that is to be written."""
        return f"collections/{collection}/part-{number:05}{self.suffixes[-1]}.parquet"


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
        self._found: bytes | None = None

    def existing(self) -> Manifest | None:
        """Return the manifest of the dataset that is there; None where there is none.

        Raises:
            ChromaError: ``not_empty`` where something else is there.
        """
        content = self._found = self.final.read(MANIFEST)
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
            return State(loaded["key"], tuple(loaded["suffixes"]), parts, float(loaded["began"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # of another release: nothing of it is used

    def begin(self, key: str, replaced: Manifest | None, lasts: float) -> State:
        """Return the state to go on with: that of an interrupted export of the same, or a new one.

        Args:
            key: of what is exported.
            replaced: the manifest of the dataset that is there.
            lasts: seconds from its beginning for which an interrupted export is gone on with.
        """
        state = self.state()
        kept = state if state and state.key == key and 0 <= time.time() - state.began <= lasts and self._holds(state) else State(key)
        if self.final.local:
            if kept is not state:
                self.clear(set())
        else:
            # What others may still read, or write, stays until this dataset is complete.
            seen = [*(state.suffixes if state else ()), *sorted(_suffixes(replaced))]
            kept = replace(kept, suffixes=(*dict.fromkeys(seen), f"-{secrets.token_hex(6)}"))
        self._write(kept)
        return kept

    def save(self, state: State) -> None:
        """Write down what is finished.

        Raises:
            ChromaError: ``busy`` where another export to the same prefix has begun.
        """
        self._check_alone(state)
        self._write(state)

    def _write(self, state: State) -> None:
        self.work.write(STATE, json.dumps(asdict(state)).encode())

    def _holds(self, state: State) -> bool:
        sizes = self.work.files("collections")
        return all(sizes.get(part.path) == part.bytes for parts in state.parts.values() for part in parts)

    def _check_alone(self, state: State) -> None:
        if self.final.local:
            return
        written = self.state()
        if written and written.suffixes[-1:] != state.suffixes[-1:]:
            raise self._overtaken()

    def _overtaken(self) -> ChromaError:
        message = f"Another export to {self.final.location} has begun or finished meanwhile."
        return ChromaError("busy", message, "Let one export write there at a time; wait until it is done and look at what is there.")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep a second export to the same directory out, which an object store can't, and finish what was cut short at its very end.

        Raises:
            ChromaError: ``busy``; ``not_empty`` where files of somebody else lie beside the destination under names that are needed.
        """
        if not self.final.local:
            yield
            return
        handle = self._locked()
        try:
            self._check_beside()
            if self._finished():
                # What was locked has got its final name.
                os.close(handle)
                handle = self._locked()
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
        """Remove what earlier exports left in the directory that is written to; ``kept`` are paths that stay."""
        # The state last: it says that the rest is ours.
        for path in sorted(self.work.files(), key=lambda each: each == STATE):
            if path not in kept:
                self.work.remove(path)
        for folder, _folders, _files in os.walk(self.work.root, topdown=False):
            # Those that still hold something stay, and so does the one that is locked.
            with contextlib.suppress(OSError):
                if folder != self.work.root:
                    os.rmdir(folder)

    def commit(self, manifest: Manifest, files: Mapping[str, bytes], state: State) -> None:
        """Make the dataset appear under its name.

        Args:
            manifest: of the parts that are written.
            files: path → content, the manifest last.
            state: of this export.

        Raises:
            ChromaError: ``manifest_mismatch`` where the store does not hold what was written; ``busy`` where another export to the same
                prefix has begun or finished.
        """
        if not self.final.local:
            self._check_alone(state)
            if self.final.read(MANIFEST) != self._found:
                raise self._overtaken()
        # One that finished meanwhile took parts of this one away.
        check_sizes(self.work, manifest)
        for path, content in files.items():
            self.work.write(path, content)
        if self.final.local:
            self.clear({*_named(manifest), STATE})
            self._rename()
        else:
            # Between that look and this write another one could still finish.
            if self.final.read(MANIFEST) != files[MANIFEST]:
                raise self._overtaken()
            check_sizes(self.final, manifest)
        self.tidy(manifest, state.key)

    def tidy(self, manifest: Manifest, key: str) -> None:
        """Remove what was only needed until the dataset was complete, also where that was cut short; ``key`` is that of its state."""
        if self.final.local:
            self._remove_replaced()
            self.final.remove(STATE)
            return
        state = self.state()
        if state is None or state.key != key:
            return
        named = _named(manifest)
        for path in self.final.files("collections"):
            if path not in named and _suffix(path) in state.suffixes:
                self.final.remove(path)
        # The last: without it nothing tells whose the others are.
        self.final.remove(STATE)

    def _check_beside(self) -> None:
        """Refuse files that no export left where an export has to write."""
        found = self.work.files()
        if found and not found.keys() & {STATE, STATE + UNFINISHED}:
            raise self._foreign(self.work.location, min(found))
        replaced = Store(self.final.filesystem, self._replaced, self._replaced, True)
        others = replaced.files()
        if others:
            try:
                read_manifest(replaced)
            except ChromaError as error:
                raise self._foreign(self._replaced, min(others)) from error

    def _foreign(self, where: str, path: str) -> ChromaError:
        message = f"{where} is needed while {self.final.location} is written, and holds {path}, which no export left there."
        return ChromaError("not_empty", message, "Choose another destination, or remove what is there.")

    def _finished(self) -> bool:
        """Give a complete dataset its name where only that was missing, and return whether there was one."""
        content = self.work.read(MANIFEST)
        if content is None or self.final.files():
            return False
        try:
            manifest = parse_manifest(content, self.work.location)
            check_sizes(self.work, manifest)
        except ChromaError:
            return False  # it is written again
        self.clear({*_named(manifest), STATE})
        self._rename()
        self.tidy(manifest, "")
        return True

    def _remove_replaced(self) -> None:
        """Remove the dataset that was replaced, its manifest last: it says that the rest is ours, so that the next run can go on."""
        if not os.path.isdir(self._replaced):
            return
        with self._reported("Could not remove what was replaced at"):
            for entry in os.scandir(self._replaced):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                elif entry.name != MANIFEST:
                    os.unlink(entry.path)
            shutil.rmtree(self._replaced)

    @property
    def _replaced(self) -> str:
        return f"{self.final.root}.replaced"

    def _rename(self) -> None:
        final = self.final.root
        with self._reported("Could not finish"):
            if os.path.exists(os.path.join(final, MANIFEST)):
                self._remove_replaced()
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


def _suffix(path: str) -> str | None:
    """Return the suffix of a part's name; None where no export names a file so."""
    found = _PART.fullmatch(path)
    return found[1] if found else None


def _suffixes(manifest: Manifest | None) -> set[str]:
    found = (_suffix(part.path) for each in manifest.collections for part in each.parts) if manifest else ()
    return {each for each in found if each is not None}


def state_key(content: Any) -> str:
    """Return the key of a state: equal for equal content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
