# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that read or write a dataset."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the object store that a dataset lies in."""

    DOCUMENTATION = r"""
options:
  s3_endpoint:
    description:
      - URL of the object store. Amazon's where it is not set.
    type: str
  s3_region:
    description: Region of the bucket.
    type: str
    default: us-east-1
  s3_ca_path:
    description: File of PEM certificates that are trusted instead of the system's, on the host where the module runs.
    type: path
  s3_timeout:
    description: Seconds to connect, and seconds without a byte, before an attempt counts as failed. There are three attempts.
    type: float
    default: 20.0
  access_key:
    description:
      - Access key of the object store.
      - Taken from the environment variable E(AWS_ACCESS_KEY_ID) where it is not set.
    type: str
  secret_key:
    description:
      - Secret key of the object store.
      - Taken from the environment variable E(AWS_SECRET_ACCESS_KEY) where it is not set.
    type: str
notes:
  - Runs beside the data and needs the data plane's Python libraries there (C(requirements-data.txt)).
"""
