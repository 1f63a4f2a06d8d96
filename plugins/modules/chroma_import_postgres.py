#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_import_postgres
short_description: Bring a collection from PostgreSQL into a Chroma server
version_added: 1.3.0
description:
  - Brings a generation of M(thinkube.chroma.chroma_export_postgres) into a server of any release, through its API.
  - The collection is created with its metadata, distance function, index settings and the name of its embedding function, or filled
    where it is empty.
  - One that holds other records is refused, unless O(overwrite) is set. They may be newer.
  - Changes nothing before the whole generation was read and found to be as it was exported.
  - Until it is filled its metadata carry a mark. So an import that was interrupted goes on, and a second one changes nothing.
  - Reads back and compares every record in the end.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.postgres
  - thinkube.chroma.attributes
options:
  collection:
    description: Name of the collection in PostgreSQL, or the id that it had where it was exported.
    type: str
    required: true
  generation:
    description:
      - Number of the generation.
      - Where it is not set, the current one, or the newest one before it that is still as it was exported.
    type: int
  from_tenant:
    description: Tenant that it was exported from, where several have a collection of that name.
    type: str
  from_database:
    description: Database of Chroma that it was exported from, where several have a collection of that name.
    type: str
  name:
    description: Name on the server. The same as O(collection)'s where it is not set.
    type: str
  overwrite:
    description:
      - Whether a collection that holds other records is made what the generation says.
      - What was written to these records since is lost. Records that the generation does not have stay.
    type: bool
    default: false
  create_database:
    description: Whether tenant and database are created where they do not exist. No release can remove a tenant.
    type: bool
    default: false
  verify:
    description: Whether all records are read back and compared in the end.
    type: bool
    default: true
  batch_size:
    description: The most records in one request. What the server says that it takes where it is not set.
    type: int
  concurrency:
    description: Requests in flight.
    type: int
    default: 4
  wait:
    description: Seconds that the server may be away, because it restarts, before the import fails.
    type: float
    default: 300.0
  timeout:
    description: Seconds to wait for one answer. A large batch takes a busy server tens of seconds.
    type: float
    default: 300.0
notes:
  - An existing collection keeps its metadata and index settings.
  - Chroma 1.x keeps a neighbour of some floats in metadata, as M(thinkube.chroma.chroma_import) says.
seealso:
  - module: thinkube.chroma.chroma_export_postgres
  - module: thinkube.chroma.chroma_import
"""

EXAMPLES = r"""
- name: Bring the last export of a collection back under another name
  thinkube.chroma.chroma_import_postgres:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collection: books
    name: books-again
    db_host: postgres
    db_name: vectors
    db_user: chroma
    db_password: "{{ postgres_password }}"
"""

RETURN = r"""
table:
  description: The table, with its schema.
  returned: success
  type: str
  sample: public.chroma_data
generation:
  description: The generation that was imported.
  returned: success
  type: int
  sample: 17
created:
  description: When it was exported, in UTC.
  returned: success
  type: str
  sample: "2026-11-21T06:00:03Z"
damaged:
  description: Generations that should have been taken, and are not as they were exported; the newest first.
  returned: success
  type: list
  elements: int
  sample: []
collections:
  description: The collection, or in check mode what would become of it; as M(thinkube.chroma.chroma_import) returns it.
  returned: success, and failure once the import has begun
  type: list
  elements: dict
  sample:
    - id: 2701772f-0f7a-4995-88b9-7e0471e727d4
      name: books-again
      source: books
      tenant: default_tenant
      database: default_database
      records: 1200
      created: true
      written: 1200
      skipped: 0
      verified: 1200
      rounded: 0
      others: 0
      differs: []
differing:
  description: The first records that do not read back as they are in PostgreSQL, each with its V(id) and what V(differs).
  returned: with code V(not_verified)
  type: list
  elements: dict
  sample:
    - id: doc1
      differs: [vector]
code:
  description:
    - Stable identifier of the error, such as V(not_found), V(damaged_generation), V(exists), V(dimension_mismatch), V(space_mismatch),
      V(unsupported), V(not_verified), V(unauthorized), V(no_database), V(tls) or V(unreachable).
  returned: failure
  type: str
  sample: not_found
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: "It has: books."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.bringing import Chosen, import_generation
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import postgres_spec, settings_from

CHOSEN = {
    "collection": {"type": "str", "required": True},
    "generation": {"type": "int"},
    "from_tenant": {"type": "str"},
    "from_database": {"type": "str"},
    "name": {"type": "str"},
    "overwrite": {"type": "bool", "default": False},
    "create_database": {"type": "bool", "default": False},
    "verify": {"type": "bool", "default": True},
    "batch_size": {"type": "int"},
    "concurrency": {"type": "int", "default": 4},
    "wait": {"type": "float", "default": 300.0},
}
OWN = {"timeout": {"type": "float", "default": 300.0}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=connection_spec(**postgres_spec(), **CHOSEN, **OWN), supports_check_mode=True)
    options = module.params
    try:
        require_data_libraries()
        chosen = Chosen(**{name: options[name] for name in CHOSEN})
        result = import_generation(settings_from(options), client_from(options), chosen, check=module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    if result["damaged"]:
        gone = ", ".join(map(str, result["damaged"]))
        module.warn(f"Not as exported any more: generation {gone}. Generation {result['generation']} of {result['created']} was taken.")
    for each in result["collections"]:
        if each["rounded"]:
            module.warn(f"Chroma 1.x keeps neighbours of some floats in the metadata of {each['name']}: see docs/import.md.")
        if each["differs"]:
            named = ", ".join(sorted({different["what"] for different in each["differs"]})[:10])
            module.warn(f"Collection {each['name']} on the server is not as it was exported, and stays so: {named}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
