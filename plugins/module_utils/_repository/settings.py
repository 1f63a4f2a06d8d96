# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a repository is and how restic gets to it. FOR INTERNAL COLLECTION USE ONLY.

Everything that restic takes from its environment goes there, and so no secret is ever an argument of a process.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import env_fallback

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.arguments import store_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

# What restic or its S3 client would read beside what is set here: the options decide, not what the environment happens to have.
_NOT_INHERITED = ("RESTIC_", "AWS_", "MINIO_", "MC_")
# Go gives memory back from here on, whatever the size of the repository's index; bytes.
_MEMORY = "200MiB"
_LOCAL_PATIENCE = 3.0
_PASSWORD_HINT = "Set repository_password, repository_password_file or the environment variable RESTIC_PASSWORD."


@dataclass(frozen=True)
class RepositorySettings:
    """Which repository, and how to get to it.

    Args:
        location: a directory, or ``s3://bucket/prefix``.
        password: of the repository; empty where ``password_file`` has it.
        password_file: a file with the password alone; white space around it does not count, as restic has it.
        store: how to reach the object store; a directory needs none of it.
        restic_path: the program, a path or a name to be found by PATH.
        lock_wait: seconds to wait for another process that works in the repository.
    """

    location: str
    password: str = field(default="", repr=False)
    password_file: str = ""
    store: StoreSettings = field(default_factory=StoreSettings)
    restic_path: str = "restic"
    lock_wait: float = 60.0

    @property
    def is_local(self) -> bool:
        """Whether it is a directory of this machine."""
        return is_local(self.location)

    @property
    def directory(self) -> Path:
        """The directory of a local repository."""
        return Path(os.path.abspath(os.path.expanduser(self.location)))

    @property
    def patience(self) -> float:
        """Seconds that requests may fail one after the other before restic is stopped, whose own limit is 15 minutes.

        Three attempts at an object store; a directory that is full or read-only is so at the next attempt too.
        """
        return _LOCAL_PATIENCE if self.is_local else 3 * self.store.timeout


def is_local(location: str) -> bool:
    """Return whether a repository's location is a directory of this machine."""
    return "://" not in location


def repository_spec() -> dict[str, dict[str, Any]]:
    """Return the argument spec of the options of the fragments ``repository`` and ``dataset``."""
    return {
        "repository": {"type": "str", "required": True},
        "repository_password": {"type": "str", "no_log": True, "fallback": (env_fallback, ["RESTIC_PASSWORD"])},
        "repository_password_file": {"type": "path", "no_log": False},
        "repository_lock_wait": {"type": "float", "default": 60.0},
        "restic_path": {"type": "str", "default": "restic"},
        **store_spec(),
    }


def settings_from(params: Mapping[str, Any]) -> RepositorySettings:
    """Return the settings that the options of a module describe.

    Raises:
        ChromaError: see :func:`check_settings`.
    """
    store = StoreSettings(
        endpoint=params["s3_endpoint"] or "",
        region=params["s3_region"],
        ca_path=params["s3_ca_path"],
        access_key=params["access_key"],
        secret_key=params["secret_key"],
        timeout=params["s3_timeout"],
    )
    # A file that is named wins over a password that only the environment has: it was asked for.
    file = params["repository_password_file"] or ""
    settings = RepositorySettings(
        location=params["repository"],
        password="" if file else params["repository_password"] or "",
        password_file=file,
        store=store,
        restic_path=params["restic_path"],
        lock_wait=params["repository_lock_wait"],
    )
    check_settings(settings)
    return settings


def check_settings(settings: RepositorySettings) -> None:
    """Refuse settings that can't be right, before anything is started.

    Raises:
        ChromaError: ``invalid_value``.
    """
    if not settings.location.strip():
        raise ChromaError("invalid_value", "repository is empty.", "Name a directory, or s3://bucket/prefix.")
    if settings.lock_wait < 0 or settings.store.timeout <= 0:
        raise ChromaError("invalid_value", "repository_lock_wait must not be negative, s3_timeout must be above 0.", "Correct the value.")
    if settings.is_local:
        # restic would try again and again, as if the directory could appear.
        if settings.directory.exists() and not settings.directory.is_dir():
            hint = "Name a directory, or s3://bucket/prefix."
            raise ChromaError("invalid_value", f"The repository {settings.directory} is a file.", hint)
    else:
        bucket_and_prefix(settings.location)
        if not settings.store.access_key or not settings.store.secret_key:
            hint = "Set access_key and secret_key, or the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            raise ChromaError("invalid_value", "A repository in an object store needs credentials.", hint)
        _check_endpoint(settings.store)
    read_password(settings)


def bucket_and_prefix(location: str) -> tuple[str, str]:
    """Return the two parts of ``s3://bucket/prefix``.

    Raises:
        ChromaError: ``invalid_value`` where the location is of another form.
    """
    parts = urllib.parse.urlsplit(location)
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.netloc or not prefix or parts.query or parts.fragment or "@" in parts.netloc:
        message = f"{location.split('@')[-1]} is neither a path nor of the form s3://bucket/prefix."
        raise ChromaError("invalid_value", message, "Name the bucket and a prefix in it; credentials are options of their own.")
    return parts.netloc, prefix


def restic_location(settings: RepositorySettings) -> str:
    """Return the location in restic's spelling, ``s3:https://host/bucket/prefix`` for an object store.

    Source: https://restic.readthedocs.io/en/stable/030_preparing_a_new_repo.html
    """
    if settings.is_local:
        return str(settings.directory)
    bucket, prefix = bucket_and_prefix(settings.location)
    endpoint = settings.store.endpoint.rstrip("/") or f"https://s3.{settings.store.region}.amazonaws.com"
    return f"s3:{endpoint}/{bucket}/{prefix}"


def read_password(settings: RepositorySettings) -> str:
    """Return the repository's password. A line break at its end does not count: ``kubectl create secret --from-file`` keeps a file's.

    Raises:
        ChromaError: ``invalid_value`` where there is none, or its file can't be read.
    """
    given = settings.password.rstrip("\r\n")
    if given:
        return given
    if not settings.password_file:
        raise ChromaError("invalid_value", f"The repository {settings.location} needs a password.", _PASSWORD_HINT)
    try:
        password = Path(settings.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"Could not read the repository's password from {settings.password_file}: {reason}."
        raise ChromaError("invalid_value", message, "Correct repository_password_file, or its permissions.") from error
    if not password:
        raise ChromaError("invalid_value", f"{settings.password_file} is empty.", "Write the repository's password into it.")
    return password


def environment(settings: RepositorySettings, inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a restic process: the caller's without what would lead it elsewhere, and what the settings say.

    Source: https://restic.readthedocs.io/en/stable/040_backup.html#environment-variables

    Raises:
        ChromaError: see :func:`read_password`.
    """
    kept = {
        key: value
        for key, value in (os.environ if inherited is None else inherited).items()
        if not key.startswith(_NOT_INHERITED) or key == "RESTIC_CACHE_DIR"
    }
    ours = {
        "RESTIC_REPOSITORY": restic_location(settings),
        "RESTIC_PASSWORD": read_password(settings),
        "RESTIC_PROGRESS_FPS": "1",
        # restic reads and writes times without a zone as local ones.
        "TZ": "UTC",
        "GOMEMLIMIT": _MEMORY,
    }
    if not settings.is_local:
        store = settings.store
        ours |= {
            "AWS_ACCESS_KEY_ID": store.access_key or "",
            "AWS_SECRET_ACCESS_KEY": store.secret_key or "",
            "AWS_DEFAULT_REGION": store.region,
        }
        if store.ca_path:
            ours["RESTIC_CACERT"] = store.ca_path
    return {**kept, **ours}


def _check_endpoint(store: StoreSettings) -> None:
    endpoint = urllib.parse.urlsplit(store.endpoint)
    if store.endpoint and (endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.username):
        raise ChromaError("invalid_value", "s3_endpoint is not valid.", "Use the form https://s3.example.com.")
    if store.ca_path and not Path(store.ca_path).is_file():
        raise ChromaError("invalid_value", f"There is no file {store.ca_path}.", "Correct s3_ca_path.")
