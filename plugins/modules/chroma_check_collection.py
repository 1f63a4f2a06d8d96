#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_check_collection
short_description: Check a collection, and bring it back from PostgreSQL where it is lost
version_added: 1.3.0
description:
  - Tells apart whether a server is down, and whether a collection is missing, empty, shrunken, unreadable, or has lost its vectors.
    It is compared with its last good export by M(thinkube.chroma.chroma_export_postgres).
  - Brings lost data back into a new collection, once for each fault, and reads them back. The damaged collection is never changed.
  - Tells somebody when a fault begins, when the data are back, with how to switch readers, and when it is over.
  - What was seen is kept in the table C(<backup_table>_faults). So a check that was killed is gone on with by the next one.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.postgres
  - thinkube.chroma.cluster
  - thinkube.chroma.alerts
  - thinkube.chroma.attributes
options:
  url:
    description:
      - Base URL of the server.
      - Taken from the environment where it is not set, from E(CHROMA_API_URL), or from E(CHROMADB_HOST), E(CHROMADB_PORT) (8000) and
        E(CHROMADB_USE_SSL) (C(False)).
    type: str
    required: false
  collection:
    description:
      - Name of the collection.
      - Taken from the environment variable E(CHROMA_COLLECTION_NAME) where it is not set.
    type: str
    required: true
  new_name:
    description:
      - Name of the collection that lost data are brought back into. Where it is taken, C(-2), C(-3) and so on is added.
      - Taken from the environment variable E(NEW_COLLECTION_NAME) where it is not set.
    type: str
    required: true
  recover:
    description: Whether lost data are brought back. Otherwise somebody is only told.
    type: bool
    default: true
  shrink_share:
    description: The share of the records of the largest export that is kept that may be gone before the collection counts as shrunken.
    type: float
    default: 0.5
  sample:
    description:
      - How many records are read with their vectors, evenly spread over the collection.
      - Before a collection that had a fault is called healthy again, all are.
    type: int
    default: 1000
  wait:
    description:
      - Seconds that the server, or PostgreSQL, may be away, also while data are brought back.
      - Errors of the server have as long to pass before a second look counts them.
    type: float
    default: 60.0
  confirm:
    description: Seconds between two looks. A fault counts once both have seen it.
    type: float
    default: 5.0
  stale_hours:
    description:
      - Hours after which somebody is told, once, that a healthy collection is not exported any more, or has no export yet.
      - An export that finds nothing new counts as one.
      - V(0) for never. The default fits an export each hour.
    type: float
    default: 3.0
seealso:
  - module: thinkube.chroma.chroma_export_postgres
  - module: thinkube.chroma.chroma_import_postgres
"""

EXAMPLES = r"""
- name: Check a collection, and tell a chat
  thinkube.chroma.chroma_check_collection:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collection: my_collection
    new_name: imported_collection
    db_host: postgres.example.com
    db_name: chroma
    db_user: chroma
    db_password: "{{ db_password }}"
    webhook_url: "{{ chat_webhook }}"

- name: Check it, all settings from the environment
  thinkube.chroma.chroma_check_collection:
"""

RETURN = r"""
collection:
  description: Name of the collection that was checked.
  returned: success
  type: str
  sample: my_collection
verdict:
  description: V(healthy), V(server_down), V(missing), V(empty), V(shrunken), V(unreadable) or V(vectors_lost).
  returned: success
  type: str
  sample: vectors_lost
reason:
  description: What was seen, as a sentence.
  returned: success
  type: str
generation:
  description: Number of the export that the collection is compared with; null where there is none.
  returned: success
  type: int
  sample: 12
overdue:
  description: Whether the collection is healthy and its last export older than O(stale_hours), or has been missing for longer.
  returned: success
  type: bool
fault:
  description: The fault that lasts; null where there is none.
  returned: success
  type: dict
  contains:
    number:
      description: Its key in the table of faults; 0 in check mode where it is new.
      type: int
    collection:
      description: The collection that has it.
      type: str
    verdict:
      description: As O(ignore:verdict), of this fault.
      type: str
    generation:
      description: The export that its data are brought back from.
      type: int
    target:
      description: The collection that they are brought back into; null where none was chosen.
      type: str
    recovered:
      description: How many records were brought back and read back equal; null before.
      type: int
    switched:
      description: Whether readers use the target now, so that nothing is done about it any more.
      type: bool
recovered:
  description: What this check brought back, in check mode what it would; null where nothing.
  returned: success
  type: dict
  contains:
    name:
      description: The new collection.
      type: str
    records:
      description: How many records it has.
      type: int
ended:
  description: Faults that are over, each as RV(fault).
  returned: success
  type: list
  elements: dict
alerts:
  description: Reasons of the alerts that were sent.
  returned: always
  type: list
  elements: str
  sample: [CollectionDamaged, CollectionRecovered]
undelivered:
  description: Alerts that could not be delivered, and why; each is a warning, too.
  returned: always
  type: list
  elements: str
rc:
  description: Exit code of the operation, 0 where the collection is healthy, otherwise 4.
  returned: success
  type: int
  sample: 4
table:
  description: What was found and done, in lines for people.
  returned: success
  type: list
  elements: str
code:
  description: Stable identifier of the error, such as V(lock_held), V(unauthorized), V(unreachable) or V(not_verified).
  returned: failure
  type: str
  sample: lock_held
hint:
  description: What to do next.
  returned: failure
  type: str
"""

import os

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import cluster_argument_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import postgres_spec, settings_from
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import alert_spec, channels_from
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.environment import COLLECTION, NEW_NAME, server_url
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.run import CheckOrder, check_collection

OWN = {
    "url": {"type": "str"},
    "collection": {"type": "str", "required": True, "fallback": (env_fallback, [COLLECTION])},
    "new_name": {"type": "str", "required": True, "fallback": (env_fallback, [NEW_NAME])},
    "recover": {"type": "bool", "default": True},
    "shrink_share": {"type": "float", "default": 0.5},
    "sample": {"type": "int", "default": 1000},
    "wait": {"type": "float", "default": 60.0},
    "confirm": {"type": "float", "default": 5.0},
    "stale_hours": {"type": "float", "default": 3.0},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**postgres_spec(), **cluster_argument_spec(), **alert_spec(), **OWN), supports_check_mode=True
    )
    options = module.params
    order = CheckOrder(**{name: options[name] for name in CheckOrder.__dataclass_fields__})
    try:
        require_data_libraries()
        client = client_from(options, url=server_url(os.environ, options["url"]))
        result = check_collection(client, settings_from(options), order, channels_from(options), module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for each in result["undelivered"]:
        module.warn(each)
    # Ansible takes an rc that is not 0 for a failure unless it is told otherwise.
    module.exit_json(failed=False, **result)


if __name__ == "__main__":
    main()
