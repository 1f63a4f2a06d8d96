#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_export_postgres
short_description: Export collections of Chroma to PostgreSQL
version_added: 1.3.0
description:
  - Copies collections with their ids, vectors, documents, metadata and URIs into a new generation of a table in PostgreSQL.
  - The generation becomes the current one, in one transaction, only after what PostgreSQL holds was compared with what was read.
  - A collection that is empty, half, has lost too many records or can't be read never replaces a generation. The others are exported
    all the same, then the module fails.
  - What killed exports left is removed by the next one. Nothing incomplete is ever visible.
  - Vectors are of type C(vector) where pgvector is installed or can be, otherwise C(real[]).
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.postgres
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: none
    details: [Records are not shown.]
options:
  path:
    description:
      - Data directory to export from, also of a running server. It is only read, under the lock of this collection's operations in its
        folder C(.thinkube-chroma). Where that can't be written, it is enough that no other operation holds it.
      - Where a server writes to it meanwhile, a consistent copy is made in O(scratch), and read. Writers wait a moment for that.
    type: path
  scratch:
    description: Directory for that copy. The system's directory for temporary files where it is not set.
    type: path
  url:
    description:
      - Base URL of a server to export from, where there is no access to its directory.
      - The module fails where it sees that records came or went while it read.
    type: str
    required: false
  collections:
    description:
      - Names of the collections, their ids, or C(tenant/database/name). A name means all collections that are called so.
      - All where it is not set - with O(path) those of all tenants and databases, with O(url) those of O(tenant) and O(database).
    type: list
    elements: str
  embedding_type:
    description:
      - Type of the vectors, where the table is not there yet. V(auto) takes C(vector) where it can be had.
    type: str
    choices: [auto, vector, "real[]"]
    default: auto
  keep_generations:
    description:
      - How many generations of each collection are kept beside the current one.
      - The largest one is kept, too, until O(allow_shrink) says that a loss was intended.
    type: int
    default: 3
  keep_days:
    description: Of how many of the last days with an export the last generation is kept, too. Days are those of UTC.
    type: int
    default: 7
  shrink_share:
    description:
      - Which share of the records of the largest generation that is kept a collection may have lost.
      - V(0) refuses the loss of a single record, V(0.5) that of more than half.
    type: float
    default: 0.5
  allow_shrink:
    description:
      - Whether a collection that lost more, or is empty, is exported all the same, because that was intended.
      - Later exports are compared with what it has then.
    type: bool
    default: false
notes:
  - From the same state of the same directory nothing is exported again, if what is there is as it was exported.
seealso:
  - module: thinkube.chroma.chroma_import_postgres
  - module: thinkube.chroma.chroma_export
"""

EXAMPLES = r"""
- name: Export a collection of a running server from its directory
  thinkube.chroma.chroma_export_postgres:
    path: /data
    collections: [books]
    db_host: postgres
    db_name: vectors
    db_user: chroma
    db_password: "{{ postgres_password }}"

- name: Export all collections by API, with the names and the password of the database in the environment
  thinkube.chroma.chroma_export_postgres:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    db_sslmode: verify-full
    db_sslrootcert: /etc/ssl/postgres-ca.pem
    backup_table: backups.chroma_data
"""

RETURN = r"""
table:
  description: The table, with its schema.
  returned: success, and failure once the collections are known
  type: str
  sample: public.chroma_data
embedding_type:
  description: Type of its vectors.
  returned: success, and failure once the collections are known
  type: str
  sample: vector
collections:
  description: What became of each collection, or in check mode would.
  returned: success, and failure once the collections are known
  type: list
  elements: dict
  contains:
    collection:
      description: Name of the collection.
      type: str
    tenant:
      description: Its tenant.
      type: str
    database:
      description: Its database.
      type: str
    records:
      description: Records that the source has.
      type: int
    status:
      description:
        - V(exported), V(unchanged) where the current generation is of the same state of the same directory, V(refused), or V(planned)
          in check mode.
      type: str
    generation:
      description: The generation that is current now; null where there is none, or in check mode a new one would be made.
      type: int
    previous:
      description: The generation that was current before.
      type: int
    code:
      description:
        - Why it was refused, such as V(source_empty), V(source_incomplete), V(source_shrunken) or V(missing_vectors); null otherwise.
      type: str
    message:
      description: The same in words, with the next step; empty otherwise.
      type: str
  sample:
    - collection: books
      tenant: default_tenant
      database: default_database
      records: 1200
      status: exported
      generation: 17
      previous: 16
      code: null
      message: ""
removed:
  description: Generations that were removed, because no retention keeps them or an export that was killed left them.
  returned: success, and failure once the collections are known
  type: list
  elements: int
  sample: [13]
code:
  description:
    - Stable identifier of the error, such as V(source_empty), V(source_incomplete), V(source_shrunken), V(missing_vectors),
      V(not_found), V(lock_held),
      V(unauthorized), V(no_database), V(old_postgres), V(tls), V(no_space), V(conflict) or V(unreachable).
  returned: failure
  type: str
  sample: source_shrunken
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Run 40_validate; set allow_shrink where that many records were removed on purpose.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.export import Wanted, export_directory, export_server
from ansible_collections.thinkube.chroma.plugins.module_utils._postgres.settings import postgres_spec, settings_from

WANTED = {
    "collections": {"type": "list", "elements": "str"},
    "embedding_type": {"type": "str", "choices": ["auto", "vector", "real[]"], "default": "auto"},
    "keep_generations": {"type": "int", "default": 3},
    "keep_days": {"type": "int", "default": 7},
    "shrink_share": {"type": "float", "default": 0.5},
    "allow_shrink": {"type": "bool", "default": False},
}
OWN = {
    "path": {"type": "path"},
    "scratch": {"type": "path"},
    # Not from the environment: beside a path it would be a second source.
    "url": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**postgres_spec(), **WANTED, **OWN),
        mutually_exclusive=[("path", "url")],
        required_one_of=[("path", "url")],
        supports_check_mode=True,
    )
    options = module.params
    try:
        require_data_libraries()
        settings = settings_from(options)
        wanted = Wanted(**{name: options[name] for name in WANTED})
        if options["path"]:
            result = export_directory(options["path"], settings, wanted, check=module.check_mode, scratch=options["scratch"])
        else:
            result = export_server(client_from(options), settings, wanted, check=module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
