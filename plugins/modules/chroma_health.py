#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_health
short_description: Check the health of a data directory of Chroma, keep a report, repair what is minor, and tell of what is severe
version_added: 1.3.0
description:
  - Validates a data directory as M(thinkube.chroma.chroma_validate) does, also beside a running server, and keeps what it found as
    C(.thinkube-chroma/reports/<time>.json) in it. It is meant to be run each hour.
  - Minor findings are repaired as M(thinkube.chroma.chroma_repair) does it beside a running server, which is never stopped for it. Nothing
    is repaired as long as there is a severe finding, and no orphans where more than half of all bytes of indexes would go.
  - Severe findings are not touched. Somebody is told by a Kubernetes Event and a webhook, once for a set of findings, again when it
    changes, and when it is over.
  - The module fails where it could not look, after that was reported and told. What it finds is no failure; see RV(rc).
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.cluster
  - thinkube.chroma.alerts
  - thinkube.chroma.attributes
attributes:
  check_mode:
    support: full
    details: [Validates, and returns what would be repaired. No report is written, and nobody is told.]
  diff_mode:
    support: none
options:
  path:
    description: The data directory, which holds C(chroma.sqlite3).
    type: path
    required: true
  live:
    description: Whether a server may be writing to the directory, see M(thinkube.chroma.chroma_validate).
    type: bool
  mounted:
    description: Demand that the directory lies on a volume, and not on storage that ends with its container.
    type: bool
    default: false
  auto_repair:
    description: Whether minor findings are repaired.
    type: bool
    default: true
  grace_days:
    description: What has been in quarantine for so many days is removed for good, if O(auto_repair) is set.
    type: float
    default: 7.0
  keep_reports:
    description: So many of the newest reports are kept.
    type: int
    default: 168
  keep_days:
    description: Reports that are older are removed, but for the newest one.
    type: float
    default: 30.0
seealso:
  - module: thinkube.chroma.chroma_validate
  - module: thinkube.chroma.chroma_repair
  - name: All findings
    description: What each identifier means, how it comes about, and what to do.
    link: https://github.com/thinkube/thinkube.chroma/blob/main/docs/findings.md
"""

EXAMPLES = r"""
- name: Check the directory of a running server, and tell of what is severe
  thinkube.chroma.chroma_health:
    path: /data
    live: true
    namespace: chroma
    statefulset: chroma
    webhook_url: "{{ lookup('ansible.builtin.env', 'WEBHOOK') }}"
  register: checked

- name: Check and repair nothing
  thinkube.chroma.chroma_health:
    path: /data
    auto_repair: false
"""

RETURN = r"""
findings:
  description: What is wrong, without what was repaired, as M(thinkube.chroma.chroma_validate) returns it.
  returned: success
  type: list
  elements: dict
  sample: []
summary:
  description: Figures of the validation, without what was repaired.
  returned: success
  type: dict
  sample:
    path: /data
    live: true
    healthy: true
    complete: true
    minor: 0
    severe: 0
    counts: {}
    collections: 3
    segments: 6
    bytes: 407740
    seconds: 0.034
    longest_lock: 0.002
limits:
  description: What this way of looking leaves out each time, and why.
  returned: success
  type: list
  elements: str
  sample: []
skipped:
  description: What could not be looked at, and why.
  returned: success
  type: list
  elements: str
  sample: []
unconfirmed:
  description: What was seen and could not be looked at again while nobody wrote.
  returned: success
  type: list
  elements: str
  sample: []
plan:
  description: Identifiers of the findings that may be repaired.
  returned: success
  type: list
  elements: str
  sample: [CHR017]
withheld:
  description: Why findings that could be repaired are not; empty where none is withheld.
  returned: success
  type: str
  sample: ""
repaired:
  description: What was repaired, as M(thinkube.chroma.chroma_repair) returns it.
  returned: success
  type: list
  elements: dict
  sample:
    - finding: CHR017
      what: folder 0cbc705a-ae8a-438f-9fd3-5a3f75583072 goes to quarantine
      collection: ""
      segment: ""
      needs_stop: false
quarantine:
  description: Id of the repair, which M(thinkube.chroma.chroma_repair_undo) takes; empty where nothing was repaired.
  returned: success
  type: str
  sample: 20261121T090000Z-0a1b2c
purged:
  description: Ids of quarantines that are older than O(grace_days) and were removed. None are beside a severe finding.
  returned: success
  type: list
  elements: str
  sample: []
alerts:
  description: Reasons of the alerts that were sent; V(DataUnhealthy), V(DataHealthy) or V(DataRepaired).
  returned: success
  type: list
  elements: str
  sample: []
report:
  description: File of the report; empty in check mode.
  returned: always, where a report was written
  type: str
  sample: /data/.thinkube-chroma/reports/20261121T090000.000000Z.json
removed:
  description: Names of old reports that were removed.
  returned: success
  type: list
  elements: str
  sample: []
table:
  description: All of it as lines to read.
  returned: success
  type: list
  elements: str
  sample: ["/data: nothing found; 3 collections, 0.034 s"]
rc:
  description: >-
    V(0) where nothing is left; V(4) where a finding is severe; otherwise V(3): all findings are minor, or something is in RV(skipped) or
    RV(unconfirmed).
  returned: success
  type: int
  sample: 0
code:
  description: Stable identifier of the error, such as V(not_chroma_directory), V(busy) or V(lock_held).
  returned: failure
  type: str
  sample: lock_held
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Wait until it has ended, and run this again.
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._health.check import HealthRequest, check_health
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import alert_spec, channels_from

OWN = {
    "live": {"type": "bool"},
    "mounted": {"type": "bool", "default": False},
    "auto_repair": {"type": "bool", "default": True},
    "grace_days": {"type": "float", "default": 7.0},
    "keep_reports": {"type": "int", "default": 168},
    "keep_days": {"type": "float", "default": 30.0},
}


def main() -> None:
    """Run the module."""
    spec = {**cluster_argument_spec(), **alert_spec(), "path": {"type": "path", "required": True}, **OWN}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    end_in_order()
    wanted = module.params
    try:
        require_data_libraries()
        request = HealthRequest(Path(wanted["path"]), **{name: wanted[name] for name in OWN})
        name = wanted["statefulset"]
        workload = Workload(open_session(wanted), wanted["namespace"], name) if name else None
        result = check_health(request, workload, channels_from(wanted), module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings"):
        module.warn(warning)
    # Ansible takes an rc that is not 0 for a failure unless it is told otherwise.
    module.exit_json(failed=False, **result)


if __name__ == "__main__":
    main()
