#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_recover_drill
short_description: Prove that repairing and recovering work here
version_added: 1.3.0
description:
  - Makes a directory of Chroma and a repository in scratch, litters and damages it in several ways, and mends each with the code of
    M(thinkube.chroma.chroma_repair), M(thinkube.chroma.chroma_repair_undo) and M(thinkube.chroma.chroma_recover).
  - Nothing else is touched.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.attributes
attributes:
  check_mode:
    support: none
    details: [It changes nothing that it has not made itself.]
  diff_mode:
    support: none
options:
  scratch_path:
    description: Directory for temporary data, some tens of MB. The system's temporary directory where it is not set.
    type: path
  restic_path:
    description: The program restic, a path or a name that is looked for in E(PATH). At least version 0.17.
    type: str
    default: restic
requirements:
  - restic >= 0.17
  - chromadb, and what C(requirements-data.txt) names
seealso:
  - module: thinkube.chroma.chroma_recover
  - module: thinkube.chroma.chroma_repair
"""

EXAMPLES = r"""
- name: Prove that a recovery would work on this host
  thinkube.chroma.chroma_recover_drill:
"""

RETURN = r"""
drills:
  description:
    - What was tried. V(expected) and V(found) are records, or files for a repair and its undo.
    - V(equal) says whether all of them are as they were.
  returned: success, and failure once it has begun
  type: list
  elements: dict
  sample:
    - name: Undo of that, byte by byte
      expected: 11
      found: 11
      equal: true
chroma_version:
  description: Release of Chroma that it was done with.
  returned: success
  type: str
  sample: 1.5.9
code:
  description: Stable identifier of the error, V(drill_failed) where something was not as it should be.
  returned: failure
  type: str
  sample: drill_failed
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Report it with the list of drills.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._recovery.drill import drill
from ansible_collections.thinkube.chroma.plugins.module_utils._snapshot.rooms import temporary_room


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"scratch_path": {"type": "path"}, "restic_path": {"type": "str", "default": "restic"}})
    try:
        with temporary_room("drill", module.params["scratch_path"]) as scratch:
            result = drill(scratch, module.params["restic_path"])
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
