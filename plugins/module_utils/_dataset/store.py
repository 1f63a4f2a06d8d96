# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a dataset lies: a local directory or a prefix of an S3 bucket, behind one interface. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.parse
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import pa, pafs
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.faults import store_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.manifest import MANIFEST, Manifest, Part, parse_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

UNFINISHED = ".unfinished"
# Blocks that wait for their hash; pyarrow's are about a megabyte.
_UNHASHED = 8


@dataclass(frozen=True)
class StoreSettings:
    """How to reach an object store; a local directory needs none of it.

    Args:
        endpoint: URL of the store; empty for Amazon's.
        region: of the bucket.
        ca_path: file of PEM certificates that are trusted instead of the system's.
        access_key, secret_key: the credentials.
        timeout: seconds to connect, and seconds without a byte, before an attempt counts as failed.
    """

    endpoint: str = ""
    region: str = "us-east-1"
    ca_path: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    timeout: float = 20.0


class Store:
    """Files below one place. All paths are relative to it, with slashes; all failures are :class:`ChromaError`.

    Args:
        filesystem: of pyarrow.
        root: where the files are, as ``filesystem`` takes it.
        location: the same for messages: a path, or ``s3://bucket/prefix``.
        local: whether it is a directory of this machine.
    """

    def __init__(self, filesystem: Any, root: str, location: str, local: bool) -> None:
        self.filesystem = filesystem
        self.root = root
        self.location = location
        self.local = local

    def full(self, path: str) -> str:
        """Return a path as ``self.filesystem`` takes it; ``invalid_value`` where it leads out of this place."""
        if path.startswith("/") or ".." in path.split("/"):
            raise ChromaError(
                "invalid_value", f"The path {path!r} leads out of {self.location}.", "Look at what names it: it may be damaged."
            )
        return f"{self.root}/{path}" if path else self.root

    def files(self, below: str = "") -> dict[str, int]:
        """Return the files at or below a path, with their sizes in bytes; none where nothing is there."""
        with self._faults("list", below):
            found = self.filesystem.get_file_info(pafs.FileSelector(self.full(below), allow_not_found=True, recursive=True))
            return {each.path[len(self.root) + 1 :]: each.size for each in found if each.type == pafs.FileType.File}

    def size(self, path: str) -> int | None:
        """Return the size of a file, bytes; None where there is none."""
        with self._faults("read", path):
            found = self.filesystem.get_file_info(self.full(path))
            return found.size if found.type == pafs.FileType.File else None

    def stamp(self, path: str) -> tuple[int | None, int | None]:
        """Return size in bytes and time of the last change in nanoseconds of a file: others after it was replaced."""
        with self._faults("read", path):
            found = self.filesystem.get_file_info(self.full(path))
            return found.size, found.mtime_ns

    def read(self, path: str) -> bytes | None:
        """Return the content of a small file; None where there is none."""
        with self._faults("read", path):
            if self.filesystem.get_file_info(self.full(path)).type != pafs.FileType.File:
                return None
            with self.filesystem.open_input_stream(self.full(path)) as stream:
                content: bytes = stream.read()
                return content

    def open_input(self, path: str) -> Any:
        """Return a file for reading at random, as pyarrow takes it."""
        with self._faults("read", path):
            return self.filesystem.open_input_file(self.full(path))

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, whole or not at all; what lay there stays where it fails."""
        if self.local:
            with self.create(path) as output:
                output.write(content)
            return
        with self._faults("write", path):
            stream = self.filesystem.open_output_stream(self.full(path))
            stream.write(content)
            stream.close()

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[Output]:
        """Write a file that appears under its name, on disk, when the block ends well, and leaves nothing otherwise."""
        # An object appears when its upload is completed, so S3 needs no other name.
        name = self.full(path + UNFINISHED) if self.local else self.full(path)
        with self._faults("write", path):
            if self.local:
                self.filesystem.create_dir(os.path.dirname(name), recursive=True)
            output = Output(self.filesystem.open_output_stream(name))
            try:
                yield output
                output.close()
                if self.local:
                    sync(name)
                    os.replace(name, self.full(path))
                    sync(os.path.dirname(name))
            except BaseException:
                self._abandon(output, name)
                raise

    def remove(self, path: str) -> None:
        """Remove a file; an absent one is no error."""
        with self._faults("remove", path), contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.full(path))

    def at(self, path: str) -> Store:
        """Return the store below a path."""
        return Store(self.filesystem, self.full(path), f"{self.location}/{path}", self.local)

    @contextlib.contextmanager
    def _faults(self, action: str, path: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise store_fault(f"Could not {action} {self.location}{'/' if path else ''}{path}", error, self.local) from error

    def _abandon(self, output: Output, name: str) -> None:
        # pyarrow can't abort an upload, it only completes it: the short object has to be removed. What fails here is only a
        # consequence of the first failure, which the user has to know of; and what can't be completed is not there: under its
        # name lies what lay there before, or what a store completed without saying so.
        with contextlib.suppress(OSError, pa.ArrowException):
            if not output.closed:
                output.close()
                self.filesystem.delete_file(name)
        if self.local:
            with contextlib.suppress(OSError):
                os.unlink(name)


class Output:
    """A file that is being written; counts and hashes what goes through. pyarrow takes it as a Python file.

    The hash is made in a thread of its own: it costs half as much as the compression (measured: 0.6 s and 1.2 s for 260 MB).
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1)
        self._unhashed: deque[Future[None]] = deque()
        self._ended = False
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Checksum of what was written, hexadecimal."""
        while self._unhashed:
            self._unhashed.popleft().result()
        return self._hash.hexdigest()

    @property
    def closed(self) -> bool:
        """Whether no more can be written."""
        return self._ended

    def write(self, content: bytes) -> int:
        """Append bytes."""
        self._unhashed.append(self._hasher.submit(self._hash.update, content))
        if len(self._unhashed) > _UNHASHED:
            self._unhashed.popleft().result()
        self._stream.write(content)
        self.bytes += len(content)
        return len(content)

    def tell(self) -> int:
        """Return the position, which is what was written."""
        return self.bytes

    def flush(self) -> None:
        """Do nothing: what counts is :meth:`Store.create`'s end."""

    def close(self) -> None:
        """Finish the file, once; on S3 this is what makes it exist. A second try would only wait as long again for a store that hangs."""
        if not self._ended:
            self._ended = True
            self._hasher.shutdown(wait=False)
            self._stream.close()


def open_store(location: str, settings: StoreSettings | None = None) -> Store:
    """Return the store of a path or of an ``s3://bucket/prefix``; nothing is read or written yet.

    Raises:
        ChromaError: ``invalid_value`` where the location or the settings can't be right.
    """
    if "://" not in location:
        path = os.path.abspath(os.path.expanduser(location))
        return Store(pafs.LocalFileSystem(), path, path, local=True)
    parts = urllib.parse.urlsplit(location)
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.netloc or not prefix or parts.query or parts.fragment or "@" in parts.netloc:
        message = f"{location.split('@')[-1]} is neither a path nor of the form s3://bucket/prefix."
        raise ChromaError("invalid_value", message, "Name the bucket and a prefix in it; credentials are options of their own.")
    return Store(_s3(settings or StoreSettings()), f"{parts.netloc}/{prefix}", f"s3://{parts.netloc}/{prefix}", local=False)


def read_manifest(store: Store) -> Manifest:
    """Return the manifest of a dataset.

    Raises:
        ChromaError: ``no_dataset`` where there is none, ``incomplete_dataset`` where it was not finished; ``invalid_manifest`` and
            ``newer_dataset``, see :func:`parse_manifest`; what the store answers.
    """
    content = store.read(MANIFEST)
    if content is not None:
        return parse_manifest(content, store.location)
    if store.files():
        message = f"{store.location} is no complete dataset: it has files, but no {MANIFEST}, which an export writes last."
        raise ChromaError("incomplete_dataset", message, "Run the export again; it goes on where it stopped.")
    raise ChromaError("no_dataset", f"There is no dataset at {store.location}.", "Check the path, or bucket and prefix.")


def check_sizes(store: Store, manifest: Manifest) -> None:
    """Compare which parts there are, and their sizes, with the manifest; cheap, one listing.

    Raises:
        ChromaError: ``manifest_mismatch``.
    """
    found = store.files("collections")
    for part in (part for each in manifest.collections for part in each.parts):
        if found.get(part.path) != part.bytes:
            seen = "is absent" if part.path not in found else f"has {found[part.path]} bytes"
            raise _mismatch(store, part, f"{seen}; the manifest says {part.bytes} bytes")


def check_part(store: Store, part: Part) -> None:
    """Read a part whole and compare its size and checksum with the manifest.

    Raises:
        ChromaError: ``manifest_mismatch``.
    """
    digest, size = hashlib.sha256(), 0
    with store.open_input(part.path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
    if (size, digest.hexdigest()) != (part.bytes, part.sha256):
        raise _mismatch(store, part, "is not what was exported: its size or checksum differs from the manifest")


def sync(path: str) -> None:
    """Make a file or the entries of a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mismatch(store: Store, part: Part, what: str) -> ChromaError:
    hint = "Copy the dataset again from where it was made, or export it again."
    return ChromaError("manifest_mismatch", f"{store.location}/{part.path} {what}.", hint)


def _s3(settings: StoreSettings) -> Any:
    if not settings.access_key or not settings.secret_key:
        hint = "Set access_key and secret_key, or the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        raise ChromaError("invalid_value", "An S3 location needs credentials.", hint)
    endpoint = urllib.parse.urlsplit(settings.endpoint)
    if settings.endpoint and (endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.username):
        raise ChromaError("invalid_value", "s3_endpoint is not valid.", "Use the form https://s3.example.com.")
    if settings.ca_path and not Path(settings.ca_path).is_file():
        raise ChromaError("invalid_value", f"There is no file {settings.ca_path}.", "Correct s3_ca_path.")
    return pafs.S3FileSystem(
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        region=settings.region,
        scheme=endpoint.scheme or "https",
        endpoint_override=endpoint.netloc or None,
        connect_timeout=settings.timeout,
        request_timeout=settings.timeout,
        tls_ca_file_path=settings.ca_path,
        # A small file is one PUT instead of a multipart upload of three requests.
        allow_delayed_open=True,
    )
