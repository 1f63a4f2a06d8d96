#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_validate_drill
short_description: Prove that chroma_validate finds damage
version_added: 1.1.0
description:
  - Makes a small data directory with the C(chromadb) package in a temporary directory, and validates it. Nothing may be found.
  - Breaks copies of it in known ways and validates each. Exactly what was broken must be found.
  - No other data are touched. The temporary directory is removed.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.attributes.info
options: {}
requirements:
  - chromadb >= 1.5
seealso:
  - module: thinkube.chroma.chroma_validate
"""

EXAMPLES = r"""
- name: Prove that damage is found here
  thinkube.chroma.chroma_validate_drill:
"""

RETURN = r"""
drills:
  description: What was broken, what had to be found and what was found.
  returned: success, and with code V(drill_failed)
  type: list
  elements: dict
  contains:
    name:
      description: What was done to the copy.
      type: str
    expected:
      description: Identifiers of the findings that it must cause.
      type: list
      elements: str
    found:
      description: Identifiers of the findings.
      type: list
      elements: str
  sample:
    - name: The label map is torn
      expected: [CHR051]
      found: [CHR051]
chroma_version:
  description: Release of the C(chromadb) package.
  returned: success, and with code V(drill_failed)
  type: str
  sample: 1.5.9
code:
  description: Stable identifier of the error, such as V(drill_failed) or V(missing_library).
  returned: failure
  type: str
  sample: drill_failed
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Report it with the list of drills.
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.drill import drill


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        require_data_libraries()
        result = drill(Path(module.tmpdir))
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
