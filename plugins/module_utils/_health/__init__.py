# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hourly check: a report with history, minor findings repaired, somebody told of the rest. FOR INTERNAL COLLECTION USE ONLY."""
