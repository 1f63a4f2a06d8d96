#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_import
short_description: Bring collections from Parquet into a Chroma server
version_added: 1.1.0
description:
  - Brings a dataset of M(thinkube.chroma.chroma_export), or a VDF of vector-io, into a server of any release, through its API.
  - Collections are created with their metadata, distance function, index settings and the name of their embedding function, or filled
    where they exist.
  - Changes nothing before the whole dataset was read and found to be as its manifest says, and every collection found to fit the server.
  - Only what the server does not hold yet is written. So an import that was interrupted goes on, and a second one changes nothing.
  - Reads back and compares every record in the end.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.dataset
  - thinkube.chroma.attributes
options:
  dataset:
    description: Directory, or C(s3://bucket/prefix), of the dataset.
    type: str
    required: true
  collections:
    description: Names or ids, in the dataset, of the collections to import. All where it is not set.
    type: list
    elements: str
  rename:
    description:
      - Other names for collections on the server, by their name or id in the dataset.
      - Two collections of one name, from two databases, are told apart by their ids.
    type: dict
    default: {}
  keep_databases:
    description: Whether each collection goes to the tenant and database that it came from, instead of to O(tenant) and O(database).
    type: bool
    default: false
  create_database:
    description: Whether tenants and databases that do not exist are created. No release can remove a tenant.
    type: bool
    default: false
  part:
    description: Which of O(parts) this import is, counted from 0, as the completion index of an Indexed Job.
    type: int
    default: 0
  parts:
    description:
      - Into how many imports the dataset is divided. Each takes whole collections, so that all have about as many records.
    type: int
    default: 1
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
  - Records of the server that the dataset does not have stay. An existing collection keeps its metadata and index settings.
  - Where a record is on the server under the same id with another content, it becomes as in the dataset.
  - Chroma 1.x keeps a neighbour of some floats in metadata, whatever client sends them, at most one unit in the last place away;
    RV(collections[].rounded) counts the records with one. Embeddings are kept in all bits, those of V(cosine) to 1e-6 of their length.
seealso:
  - module: thinkube.chroma.chroma_export
  - module: thinkube.chroma.chroma_database
"""

EXAMPLES = r"""
- name: Bring an export into a server
  thinkube.chroma.chroma_import:
    dataset: /exports/chroma-2026-08
    url: https://chroma.example.com
    token: "{{ chroma_token }}"

- name: Bring one collection of an export in an object store into another database, under another name
  thinkube.chroma.chroma_import:
    dataset: s3://exports/chroma/2026-08
    s3_endpoint: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    database: staging
    create_database: true
    collections: [books]
    rename:
      books: books-2026-08
"""

RETURN = r"""
dataset:
  description: The dataset, a path or a URL.
  returned: success
  type: str
  sample: s3://exports/chroma/2026-08
collections:
  description: The collections of this part, or in check mode what would become of them.
  returned: success, and failure once the import has begun
  type: list
  elements: dict
  contains:
    id:
      description: UUID on the server; null where check mode would have it created.
      type: str
    name:
      description: Name on the server.
      type: str
    source:
      description: Name in the dataset.
      type: str
    tenant:
      description: Tenant on the server.
      type: str
    database:
      description: Database on the server.
      type: str
    records:
      description: Records in the dataset.
      type: int
    created:
      description: Whether the collection was created.
      type: bool
    written:
      description: Records that were written, because the server did not hold them so.
      type: int
    skipped:
      description: Records that the server held already.
      type: int
    verified:
      description: Records that were read back and found equal.
      type: int
    rounded:
      description: Records with a float in their metadata of which the server keeps a neighbour.
      type: int
    others:
      description: Records of the collection on the server that the dataset does not have.
      type: int
    differs:
      description:
        - Where the collection on the server is not as the dataset says, beside its records. Nothing of it is changed.
        - Each has V(what), which is V(metadata.KEY), V(configuration.SETTING), V(embedding_function) or V(schema.KEY.TYPE.INDEX), and what
          V(dataset) and V(server) say.
      type: list
      elements: dict
  sample:
    - id: 2701772f-0f7a-4995-88b9-7e0471e727d4
      name: books-2026-08
      source: books
      tenant: default_tenant
      database: staging
      records: 1200
      created: true
      written: 1200
      skipped: 0
      verified: 1200
      rounded: 0
      others: 0
      differs: []
differing:
  description: The first records that do not read back as they are in the dataset, each with its V(id) and what V(differs).
  returned: with code V(not_verified)
  type: list
  elements: dict
  sample:
    - id: doc1
      differs: [vector]
code:
  description:
    - Stable identifier of the error, such as V(incomplete_dataset), V(manifest_mismatch), V(newer_dataset), V(not_found),
      V(dimension_mismatch), V(space_mismatch), V(conflict), V(unsupported) or V(not_verified).
  returned: failure
  type: str
  sample: manifest_mismatch
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Copy the dataset again from where it was made, or export it again.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.arguments import store_from, store_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.importing import import_dataset
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.targets import ImportRequest
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

REQUEST = {
    "collections": {"type": "list", "elements": "str"},
    "rename": {"type": "dict", "default": {}},
    "keep_databases": {"type": "bool", "default": False},
    "create_database": {"type": "bool", "default": False},
    "part": {"type": "int", "default": 0},
    "parts": {"type": "int", "default": 1},
    "verify": {"type": "bool", "default": True},
    "batch_size": {"type": "int"},
    "concurrency": {"type": "int", "default": 4},
    "wait": {"type": "float", "default": 300.0},
}
OWN = {"dataset": {"type": "str", "required": True}, "timeout": {"type": "float", "default": 300.0}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=connection_spec(**store_spec(), **REQUEST, **OWN), supports_check_mode=True)
    options = module.params
    try:
        require_data_libraries()
        request = ImportRequest(**{name: options[name] for name in REQUEST})
        result = import_dataset(store_from(options["dataset"], options), client_from(options), request, check=module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    rounded = [each["name"] for each in result["collections"] if each["rounded"]]
    if rounded:
        module.warn(f"Chroma 1.x keeps neighbours of some floats in the metadata of {', '.join(rounded)}: see docs/import.md.")
    for each in result["collections"]:
        if each["differs"]:
            named = ", ".join(sorted({different["what"] for different in each["differs"]})[:10])
            module.warn(f"Collection {each['name']} on the server is not as the dataset says, and stays so: {named}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
