# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failure of a directory or an object store means. FOR INTERNAL COLLECTION USE ONLY.

pyarrow reports S3's answers as text: ``… AWS Error ACCESS_DENIED during PutObject operation: …`` (its ``s3fs`` sources).
"""

from __future__ import annotations

import errno
import re

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

_RIGHTS = "Check access_key and secret_key, and that they may list, read, write and delete below this prefix."
_REACH = "Check s3_endpoint, s3_ca_path and the network, and try again; what is finished is kept."
_LATER = "Look at the store's state and try again; what is finished is kept."

# What the text holds → code, next step. In this order.
_S3 = (
    (r"NO_SUCH_BUCKET|NoSuchBucket|bucket (\S+ )?does not exist", "no_bucket", "Create the bucket, or correct its name."),
    (
        r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_(CLIENT_TOKEN|SIGNATURE)|status 403|access key",
        "forbidden",
        _RIGHTS,
    ),
    (r"curlCode: (28|Timeout)|timed? ?out|REQUEST_TIMEOUT", "timeout", _REACH),
    (r"curlCode: (35|51|58|60|77)|certificate|SSL", "tls", "Pass the certificate authority as s3_ca_path."),
    (r"NETWORK_CONNECTION|curlCode", "unreachable", _REACH),
    (r"INTERNAL_FAILURE|InternalError|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|HTTP status 5\d\d", "unavailable", _LATER),
)
_LOCAL = {
    errno.ENOSPC: ("no_space", "Make room, or choose another destination, and run it again: what is finished is kept."),
    errno.EDQUOT: ("no_space", "Raise the quota, or choose another destination, and run it again: what is finished is kept."),
    errno.EACCES: ("forbidden", "Give the user that runs this the right to write there, or choose another destination."),
    errno.EPERM: ("forbidden", "Give the user that runs this the right to write there, or choose another destination."),
    errno.EROFS: ("forbidden", "The file system is read-only: choose another destination."),
    errno.ENOTDIR: ("invalid_value", "A part of the path is a file: choose another path."),
    errno.ENOENT: ("not_found", "Check the path."),
}


def store_fault(action: str, error: Exception, local: bool) -> ChromaError:
    """Return the typed error for what a file system of pyarrow raised.

    Args:
        action: what was attempted on what.
        local: whether it was a directory of this machine.
    """
    text = " ".join(str(error).split()).rstrip(".")
    message = f"{action}: {text[:500]}."
    if local:
        code, hint = _LOCAL.get(_number(error, text), ("store_error", "Look at the file system and the kernel's log."))
        return ChromaError(code, message, hint)
    for pattern, code, hint in _S3:
        if re.search(pattern, text, re.IGNORECASE):
            return ChromaError(code, message, hint)
    return ChromaError("store_error", message, _LATER)


def _number(error: Exception, text: str) -> int:
    """Return the error number, which pyarrow gives as an attribute or in the text only."""
    number = getattr(error, "errno", None)
    found = re.search(r"\[errno (\d+)\]", text, re.IGNORECASE)
    return number if number is not None else int(found[1]) if found else 0
