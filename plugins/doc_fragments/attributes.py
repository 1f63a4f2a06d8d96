# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attributes of the modules."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module supports."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return what would change without changing it.
  diff_mode:
    support: full
    description: Returns what changed, or would change in C(check_mode), when in diff mode.
"""

    # Modules that read only.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return what would change without changing it.
    details: [This module changes nothing.]
  diff_mode:
    support: N/A
    description: Returns what changed, or would change in C(check_mode), when in diff mode.
    details: [This module changes nothing.]
"""
