# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that speak to a Kubernetes cluster."""

from __future__ import annotations


class ModuleDocFragment:
    """How to reach the cluster."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description: Path of the kubeconfig file, on the host where the module runs.
    type: path
  context:
    description: Context of the kubeconfig; its current one where it is not set.
    type: str
  namespace:
    description: Namespace of the Chroma release.
    type: str
    default: chroma
"""
