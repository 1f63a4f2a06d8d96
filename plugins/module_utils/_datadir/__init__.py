# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reader of a Chroma data directory, 0.4.24 to 1.5.9; it never writes to it. FOR INTERNAL COLLECTION USE ONLY."""
