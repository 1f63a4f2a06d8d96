# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure of restic means. FOR INTERNAL COLLECTION USE ONLY.

Source of the exit codes: https://restic.readthedocs.io/en/stable/075_scripting.html#exit-codes
"""

from __future__ import annotations

import re

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Outcome
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings

NO_REPOSITORY, LOCKED, WRONG_PASSWORD = 10, 11, 12

_RIGHTS = "Check access_key and secret_key, and that they may list, read, write and delete below this prefix."
_REACH = "Check s3_endpoint, s3_ca_path and the network, and try again; what is in the repository is kept."
_LATER = "Look at the object store's state and try again; what is in the repository is kept."
_DAMAGED = (
    "Find out what is concerned by chroma_backup_info with check: true (backups with chroma_list_check=true), make a new full backup, and "
    "see docs/repository.md for what can be saved."
)

# What restic says → code, next step. In this order: what is sure before what may be only its consequence.
_TEXTS = (
    (r"no space left on device|disk quota exceeded", "no_space", "Make room there and run it again; what is in the repository is kept."),
    (
        r"unsupported repository version|repository version .* not supported",
        "newer_repository",
        "A newer restic made this repository: name that one by restic_path, or choose another repository.",
    ),
    (r"NoSuchBucket|bucket does not exist", "no_bucket", "Create the bucket, or correct its name; it is never created here."),
    (
        r"RequestTimeTooSkewed|difference between the request time",
        "clock_skew",
        "Set the clock of this host: the object store refuses requests whose time is more than 15 minutes away from its own.",
    ),
    (
        r"Access ?Denied|InvalidAccessKeyId|SignatureDoesNotMatch|Access Key Id|signature we calculated|403 Forbidden|AllAccessDisabled",
        "forbidden",
        _RIGHTS,
    ),
    (r"read-only file system", "forbidden", "Its file system is mounted read-only: mount it for writing, or choose another place."),
    (
        r"permission denied|operation not permitted",
        "forbidden",
        "Give the user that runs this the right to read and write there, or choose another place.",
    ),
    (r"HTTP response to HTTPS client", "tls", "Correct s3_endpoint: it does not speak TLS, so it begins with http://."),
    (r"x509|certificate|tls: ", "tls", "Pass the certificate authority as s3_ca_path."),
    (
        r"ciphertext verification failed|invalid data returned|hash mismatch|does not match hash|is damaged|repository contains errors"
        r"|specified key does not exist|not found in (index|repository)|unexpected pack|wrong data returned",
        "damaged_repository",
        _DAMAGED,
    ),
    (
        r"connection refused|no such host|server misbehaving|temporary failure in name resolution|(network|host) is (unreachable|down)"
        r"|no route to host",
        "unreachable",
        _REACH,
    ),
    (r"i/o timeout|timed out|deadline exceeded|request timeout|Client\.Timeout|stuck|not making progress", "timeout", _REACH),
    (
        r"\b50[0-9]\b|InternalError|SlowDown|Service ?Unavailable|internal error|unexpected EOF|\bEOF\b|connection reset|broken pipe"
        r"|closed by foreign host",
        "unavailable",
        _LATER,
    ),
    (r"not a directory", "invalid_value", "A part of the path is a file: choose another path."),
    (r"no such file or directory", "damaged_repository", _DAMAGED),
)


def restic_fault(action: str, outcome: Outcome, settings: RepositorySettings) -> ChromaError:
    """Return the typed error for a run of restic that failed.

    Args:
        action: what was attempted on what, for example ``Could not list the backups of /backups/chroma``.
        outcome: of the run.
        settings: of the repository.
    """
    where = settings.location
    if outcome.code == WRONG_PASSWORD:
        return ChromaError(
            "wrong_password",
            f"{action}: this is not its password.",
            f"Give the password that {where} was made with; on a cluster it is key repository-password of the Secret chroma-backup. "
            "Without it these backups can't be read: choose another repository for new ones.",
        )
    if outcome.code == LOCKED:
        return ChromaError("repository_locked", f"{action}: {_first_line(outcome.message)}.", "Wait for the other process and try again.")
    if outcome.code == NO_REPOSITORY and not re.search(r"NoSuchBucket|bucket does not exist", outcome.text):
        return no_repository(where)
    text = _short(outcome)
    for pattern, code, hint in _TEXTS:
        if re.search(pattern, outcome.text, re.IGNORECASE):
            return ChromaError(code, f"{action}: {text}.", hint)
    if outcome.gave_up:
        return ChromaError("unavailable", f"{action}: {text}.", _LATER)
    if outcome.code < 0 or outcome.code == 130:
        return ChromaError("interrupted", f"{action}: restic was stopped.", "Run it again; what is in the repository is kept.")
    return ChromaError("repository_error", f"{action}: {text}.", "Look at the repository and at what restic says, and try again.")


def no_repository(location: str) -> ChromaError:
    """Return the error for a place that has no repository."""
    hint = "Check the path, or bucket and prefix, and that the volume is mounted; a first backup creates it."
    return ChromaError("no_repository", f"There is no repository at {location}.", hint)


def _short(outcome: Outcome) -> str:
    """Return what says most about a failure, on one line."""
    said = outcome.message or (outcome.complaints[-1] if outcome.complaints else f"restic ended with {outcome.code}")
    first = outcome.complaints[0] if outcome.complaints else ""
    if outcome.gave_up or re.search(r"There were \d+ errors|contains errors|context canceled", said):
        said = first or said
    said = re.sub(r" returned error, retrying after [^:]+", "", said.removeprefix("Fatal: ")).partition("\nIs there a repository at")[0]
    return " ".join(said.split()).rstrip(".")[:500]


def _first_line(text: str) -> str:
    return text.removeprefix("unable to create lock in backend: ").partition("\n")[0]
