# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that alert somebody."""

from __future__ import annotations


class ModuleDocFragment:
    """Whom to tell, and how."""

    DOCUMENTATION = r"""
options:
  statefulset:
    description:
      - Name of the server's StatefulSet. Alerts become Kubernetes Events on it, which needs the right to create Events in O(namespace).
      - No Events are created where it is not set.
    type: str
  webhook_url:
    description:
      - Address to which alerts are sent by POST, as JSON with C(source), C(time), C(type) (C(Warning) or C(Normal)), C(reason),
        C(text) and C(facts).
      - It may hold a secret in its path or query; only its scheme and host are ever shown.
      - It has 10 seconds to answer, twice. Redirections are refused.
      - That it can't be reached is a warning and fails nothing.
      - Taken from the environment variable E(CHROMA_ALERT_WEBHOOK) where it is not set.
    type: str
  webhook_ca_path:
    description: File of PEM certificates that are trusted for O(webhook_url), on the host where the module runs.
    type: path
"""
