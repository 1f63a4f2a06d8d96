# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploading the directory of an embedded Chroma to S3, whole and proven or not at all. FOR INTERNAL COLLECTION USE ONLY.

Each attempt has a prefix of its own. First comes ``delta.json.unverified``, which says whose the rest is; then the files; then what lies
there is downloaded and proven; then ``delta.json`` appears, which makes it a delta. What fails is removed.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backoff import delay
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import Store, StoreSettings, open_store
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.check import check_sizes, check_source, check_uploaded, read_manifest
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.close import close_clients
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.manifest import (
    MANIFEST,
    UNVERIFIED,
    DeltaManifest,
    check_directory,
    encode,
    invalid,
    plan,
)
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.store import remove, say, sweep, upload_file
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import Progress
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room

# What another attempt may bring; anything else fails at once.
_PASSING = ("directory_changed", "invalid_delta", "store_error", "timeout", "unavailable", "unreachable")


@dataclass(frozen=True)
class Uploaded:
    """What was uploaded.

    Attributes:
        prefix: key prefix of the delta in its bucket, without a slash at its end.
        manifest: what it consists of.
        attempts: how many it took.
        validated: the release of Chroma that opened what came back; empty where that was not wanted.
        seconds: that it took.
    """

    prefix: str
    manifest: DeltaManifest
    attempts: int
    validated: str
    seconds: float

    def as_result(self) -> dict[str, Any]:
        """Return it as a module returns it."""
        return {
            "prefix": self.prefix,
            "files": len(self.manifest.files),
            "bytes": self.manifest.bytes,
            "collections": [f"{each.tenant}/{each.database}/{each.name}" for each in self.manifest.collections],
            "records": self.manifest.records,
            "attempts": self.attempts,
            "validated": self.validated,
            "seconds": round(self.seconds, 3),
        }


class Delta:
    """The directory of an embedded Chroma, and the way of it to S3.

    Args:
        client: a ``chromadb.PersistentClient``. It is closed before the upload, and so is every other client of this process on its
            directory; no Collection of theirs can be used afterwards.
        path: the directory; only needed where there is no client.
        settings: endpoint, region, credentials and time limits of the object store.
        collections: a cache of Collection objects of the caller's; it is emptied before the upload.
        scratch: directory for what is downloaded to be validated: as much as the delta. The system's temporary directory by default.
        backoff: seconds of the first pause between two attempts; each further one is twice as long, at most a minute, with jitter.
        open_timeout: seconds for Chroma to open and read what was downloaded.

    Raises:
        ChromaError: ``invalid_value`` without client and path, or for a client that has no directory; ``missing_library``.
    """

    def __init__(
        self,
        client: Any = None,
        *,
        path: Path | str | None = None,
        settings: StoreSettings | None = None,
        collections: MutableMapping[str, Any] | None = None,
        scratch: Path | str | None = None,
        backoff: float = 2.0,
        open_timeout: float = 600.0,
    ) -> None:
        require_data_libraries()
        self._client = client
        self._collections = collections
        self._settings = settings or StoreSettings()
        self._scratch = scratch
        self._backoff = backoff
        self._open_timeout = open_timeout
        self.path = Path(path or _path_of(client)).resolve()

    def persist_and_upload_delta(self, bucket: str, s3_prefix: str, max_retries: int = 3, validate_after_upload: bool = True) -> str:
        """Close the client, upload its directory, and prove what is there by downloading and opening it.

        Args:
            bucket: it has to exist.
            s3_prefix: below it each attempt has a prefix of its own.
            max_retries: attempts in all, at least 1.
            validate_after_upload: whether the delta is downloaded, validated and opened by Chroma; otherwise sizes are compared only.

        Returns:
            The key prefix of the delta, ``<s3_prefix>/<id>``.

        Raises:
            ChromaError: see :meth:`upload`.
        """
        return self.upload(bucket, s3_prefix, max_retries, validate_after_upload).prefix

    def upload(self, bucket: str, s3_prefix: str, max_retries: int = 3, validate_after_upload: bool = True) -> Uploaded:
        """Do what :meth:`persist_and_upload_delta` does, and return all that is known of it.

        Raises:
            ChromaError: ``invalid_value``; ``still_open`` or ``busy`` where the directory is in use; ``not_chroma_directory``,
                ``newer_chroma`` or ``damaged`` where it cannot be uploaded; ``no_bucket``, ``forbidden`` or ``tls`` at once, and after the
                last attempt ``unreachable``, ``timeout``, ``unavailable``, ``store_error``, ``invalid_delta`` or ``directory_changed``.
                ``result`` has ``attempts``: prefix, code and message of each, and ``left`` where the removal failed.
        """
        store = self._store(bucket, s3_prefix, max_retries)
        check_directory(self.path)
        began = time.monotonic()
        self._close_client_for_upload()
        with temporary_room("delta", self._scratch) as scratch:
            if validate_after_upload:
                check_source(self.path, scratch)
        failed: list[dict[str, Any]] = []
        for attempt in range(1, max_retries + 1):
            if failed:
                pause = delay(attempt - 1, self._backoff)
                say(f"attempt {attempt} of {max_retries} in {pause:.1f} s")
                time.sleep(pause)
            with temporary_room("delta", self._scratch) as scratch:
                manifest = plan(self.path, scratch)
            work = store.at(manifest.id)
            try:
                validated = self._attempt(work, manifest, attempt, validate_after_upload)
            except BaseException as error:
                left = remove(work)
                if not isinstance(error, ChromaError):
                    raise
                failed.append({"attempt": attempt, "prefix": work.location, "code": error.code, "message": error.message, "left": left})
                if attempt == max_retries or error.code not in _PASSING:
                    raise self._failed(error, failed, max_retries) from error
                say(f"attempt {attempt} failed: {error.message}", logging.WARNING)
            else:
                sweep(store, work)
                prefix = work.root.partition("/")[2]
                say(f"the delta is at {work.location}")
                return Uploaded(prefix, manifest, attempt, validated, time.monotonic() - began)
        raise AssertionError("the last attempt returns or raises")

    def planned(self, bucket: str, s3_prefix: str, max_retries: int = 3, validate_after_upload: bool = True) -> Uploaded:
        """Return what :meth:`upload` would do, without closing or writing anything; the prefix is the one that was given.

        Raises:
            ChromaError: as :meth:`upload`, but the store is not asked.
        """
        self._store(bucket, s3_prefix, max_retries)
        check_directory(self.path)
        began = time.monotonic()
        close_clients(self.path, None, say, wait=0)
        with temporary_room("delta", self._scratch) as scratch:
            if validate_after_upload:
                check_source(self.path, scratch)
            manifest = plan(self.path, scratch)
        return Uploaded(s3_prefix.strip("/"), manifest, 0, "", time.monotonic() - began)

    def _close_client_for_upload(self) -> None:
        """Close every client of this process on the directory, and prove that no handle on it is open.

        Raises:
            ChromaError: ``still_open``, ``busy``.
        """
        if self._collections is not None:
            self._collections.clear()
        client, self._client = self._client, None
        close_clients(self.path, client, say)

    def _validate_delta_after_upload(self, bucket: str, s3_prefix: str) -> bool:
        """Download the delta at a prefix, and look whether it is what was uploaded and Chroma can read it.

        Returns:
            Whether it is; the log has the reason where it is not. False also where there is none.

        Raises:
            ChromaError: the store could not be asked, or chromadb is not here.
        """
        store = self._store(bucket, s3_prefix)
        try:
            self._validate(store, read_manifest(store))
        except ChromaError as error:
            if error.code != "invalid_delta":
                raise
            say(error.message, logging.ERROR)
            return False
        return True

    def _attempt(self, work: Store, manifest: DeltaManifest, attempt: int, validate: bool) -> str:
        content = encode(manifest)
        say(f"attempt {attempt}: uploading {len(manifest.files)} files, {manifest.bytes} bytes, to {work.location}")
        work.write(UNVERIFIED, content)
        with Progress("upload", total=manifest.bytes, unit="bytes") as progress:
            for each in manifest.files:
                upload_file(work, self.path, each, progress)
        check_sizes(work, manifest)
        validated = ""
        if validate:
            validated = self._validate(work, manifest)
        work.write(MANIFEST, content)
        if work.read(MANIFEST) != content:
            raise invalid(work.location, f"{MANIFEST} came back with other content")
        with contextlib.suppress(ChromaError):  # It is a delta; a marker beside it means nothing any more.
            work.remove(UNVERIFIED)
        return validated

    def _validate(self, store: Store, manifest: DeltaManifest) -> str:
        say(f"validating what is at {store.location}: download, checksums, validation, Chroma")
        with temporary_room("delta", self._scratch) as scratch:
            release = check_uploaded(store, manifest, scratch, self._open_timeout)
        say(f"validated: Chroma {release} reads {len(manifest.collections)} collections with {manifest.records} records")
        return release

    def _failed(self, error: ChromaError, failed: list[dict[str, Any]], attempts: int) -> ChromaError:
        last = failed[-1]
        message = f"The delta of {self.path} was not uploaded; attempt {last['attempt']} of {attempts}: {error.message}"
        hint = error.hint
        if left := [each["prefix"] for each in failed if each["left"]]:
            hint += f" What failed could not be removed; without {MANIFEST} it is no delta. Remove it: {', '.join(left)}."
        say(message, logging.ERROR)
        return ChromaError(error.code, message, hint, {**error.result, "attempts": failed})

    def _store(self, bucket: str, prefix: str, attempts: int = 1) -> Store:
        if attempts < 1:
            raise ChromaError("invalid_value", f"max_retries is {attempts}, and counts attempts.", "Set it to 1 or more.")
        if not bucket or "/" in bucket or not prefix.strip("/"):
            raise ChromaError("invalid_value", f"Bucket {bucket!r} or prefix {prefix!r} is not valid.", "Name both; a prefix is not empty.")
        return open_store(f"s3://{bucket}/{prefix.strip('/')}", self._settings)


def _path_of(client: Any) -> str:
    """Return the directory of a client."""
    settings: Any = client.get_settings() if callable(getattr(client, "get_settings", None)) else None
    if not getattr(settings, "is_persistent", False):
        hint = "Give a chromadb.PersistentClient, or the path of a directory."
        raise ChromaError("invalid_value", "A delta is made of a directory, and this is no client that has one.", hint)
    return str(settings.persist_directory)
