# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uploading the directory of an embedded Chroma to S3, for programs of your own: docs/delta.md. Needs no Ansible, but pyarrow."""

from __future__ import annotations

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.store import StoreSettings
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.delta import Delta, Uploaded
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

__all__ = ["ChromaError", "Delta", "StoreSettings", "Uploaded"]
