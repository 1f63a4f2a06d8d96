#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_backup_drill
short_description: Prove that a backup of Chroma can be restored
version_added: 1.2.0
description:
  - Restores a backup to scratch as M(thinkube.chroma.chroma_restore) would, replays its increments, validates it, opens it with Chroma,
    compares it with its manifest, and asks for neighbours.
  - Nothing else is touched, neither the server nor the backup. The scratch is removed.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes.info
options:
  backup:
    description:
      - Id of a backup, or V(latest), the newest one of the data directory O(path).
      - Where O(path) is not set, or has no backups yet, V(latest) is refused if the repository holds backups of several directories.
    type: str
    default: latest
  path:
    description:
      - Data directory whose backups O(backup=latest) means. Nothing of Chroma's in it is read or touched.
      - The backup is restored to its C(.thinkube-chroma/scratch), where O(scratch_path) is not set.
    type: path
  scratch_path:
    description:
      - Directory that the backup is restored to. It has to fit there.
      - Where it is not set, C(.thinkube-chroma) in O(path); without that the system's temporary directory.
    type: path
  statefulset:
    description:
      - Name of the server's StatefulSet in O(namespace). If set, the cluster is asked which locks in the repository are those of pods
        that are gone. The server is left alone.
    type: str
requirements:
  - chromadb >= 1.5
seealso:
  - module: thinkube.chroma.chroma_backup
  - module: thinkube.chroma.chroma_restore
"""

EXAMPLES = r"""
- name: Prove that the newest backup can be restored
  thinkube.chroma.chroma_backup_drill:
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password
"""

RETURN = r"""
backup:
  description: The backup, as M(thinkube.chroma.chroma_backup_info) lists it.
  returned: success
  type: dict
  sample:
    id: 20260831T000000Z-02c41e
    kind: full
    records: 200000
proof:
  description: >-
    What was compared: C(collections), C(records), neighbours that were asked for (C(queries)) and not found (C(missed)), and C(minor)
    findings. Null for a restore point, of which restic compares the bytes.
  returned: success
  type: dict
  sample:
    collections: 1
    records: 200000
    queries: 20
    missed: 0
    minor: []
    seconds: 6.2
seconds:
  description: Seconds that the drill took.
  returned: success
  type: float
  sample: 11.4
code:
  description: Stable identifier of the error, such as V(not_verified), V(damaged_repository), V(broken_chain) or V(no_space).
  returned: failure
  type: str
  sample: not_verified
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: The newest one before it that can be restored is 20260830T000000Z-7a6f10.
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.arguments import cluster_from
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.drill import drill
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import repository_spec, settings_from


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **repository_spec(),
            **cluster_argument_spec(),
            "backup": {"type": "str", "default": "latest"},
            "path": {"type": "path"},
            "scratch_path": {"type": "path"},
            "statefulset": {"type": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        require_data_libraries()
        gone = cluster_from(given)[1]
        path, scratch_path = (Path(given[each]) if given[each] else None for each in ("path", "scratch_path"))
        result = drill(settings_from(given), gone, given["backup"], path, scratch_path)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
