# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries of the data plane, imported in one place: the control plane has none of them. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

MISSING = ""

if TYPE_CHECKING:
    import numpy as np
    import orjson
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.fs as pafs
    import pyarrow.parquet as pq
else:
    try:
        import numpy as np
        import orjson
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.fs as pafs
        import pyarrow.parquet as pq
    except ImportError as error:
        np = orjson = pa = pc = pafs = pq = None
        MISSING = str(error)

__all__ = ["np", "orjson", "pa", "pafs", "pc", "pq", "require_data_libraries"]


def require_data_libraries() -> None:
    """Check that the data plane's libraries are here; called first by each of its modules.

    Raises:
        ChromaError: ``missing_library``.
    """
    if MISSING:
        message = f"This module runs beside the data and needs the data plane's Python libraries: {MISSING}."
        hint = "Install what requirements-data.txt names for the Python that Ansible uses, or run it as a Job (docs/operations.md)."
        raise ChromaError("missing_library", message, hint)
