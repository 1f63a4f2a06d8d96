#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_export
short_description: Export collections of Chroma as Parquet
version_added: 1.1.0
description:
  - Writes collections with their ids, vectors, documents, metadata and URIs as Parquet files to a directory or an object store.
  - A manifest with counts and checksums and a C(VDF_META.json) lie beside them.
  - DuckDB, pandas and Spark open the files without this collection.
  - An interrupted export goes on where it stopped. Nothing incomplete ever lies under the name of the destination.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.dataset
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: none
    details: [Records are not shown.]
options:
  path:
    description:
      - Data directory of a stopped server, or a copy of one. It is only read.
      - Where a server writes to it meanwhile, the module fails and no dataset appears.
    type: path
  url:
    description:
      - Base URL of a server to export from, where there is no access to its directory.
      - A server has no moment that could be read. The module fails where it sees that records came or went while it read;
        what it writes is marked as not consistent.
      - Files that an interrupted export had finished are kept for an hour from its beginning; values may have been replaced since.
    type: str
    required: false
  collections:
    description:
      - Names of the collections, their ids, or C(tenant/database/name). A name means all collections that are called so.
      - All where it is not set - with O(path) those of all tenants and databases, with O(url) those of O(tenant) and O(database).
    type: list
    elements: str
  destination:
    description:
      - Directory, or C(s3://bucket/prefix), that becomes the dataset.
      - Next to a directory, C(<destination>.partial) holds what is not complete yet.
    type: str
    required: true
  overwrite:
    description:
      - Whether a dataset at O(destination) is replaced. It stays until the new one is complete.
      - One that was exported from the same state of the same O(path) is left as it is in any case.
    type: bool
    default: false
  allow_missing_vectors:
    description:
      - Whether records whose vectors are lost are exported, with a null as their vector.
      - Otherwise they make the module fail.
    type: bool
    default: false
seealso:
  - module: thinkube.chroma.chroma_import
  - module: thinkube.chroma.chroma_validate
"""

EXAMPLES = r"""
- name: Export all collections of a stopped server
  thinkube.chroma.chroma_export:
    path: /data
    destination: /exports/chroma-2026-08

- name: Export one collection of a running server to an object store
  thinkube.chroma.chroma_export:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collections: [books]
    destination: s3://exports/chroma/books
    s3_endpoint: https://s3.example.com
    access_key: "{{ s3_access_key }}"
    secret_key: "{{ s3_secret_key }}"
"""

RETURN = r"""
dataset:
  description: The dataset, a path or a URL.
  returned: success
  type: str
  sample: s3://exports/chroma/books
collections:
  description: What the dataset holds, or in check mode would hold.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the collection.
      type: str
    records:
      description: Number of records.
      type: int
    bytes:
      description: Size of its files; null in check mode.
      type: int
  sample:
    - name: books
      records: 1200
      bytes: 1650321
resumed_parts:
  description: How many files an interrupted export had finished, which were kept.
  returned: success
  type: int
  sample: 0
missing_vectors:
  description: How many records of a collection have lost their vectors.
  returned: with code V(missing_vectors)
  type: int
  sample: 3
code:
  description: Stable identifier of the error, such as V(not_found), V(exists), V(missing_vectors), V(directory_changed) or V(no_space).
  returned: failure
  type: str
  sample: exists
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Choose another destination, or set overwrite.
"""

import contextlib

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._arrow import require_data_libraries
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.arguments import store_from, store_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.export import Wanted, export
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.serving import ServerSource
from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.sources import DirectorySource
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

OWN = {
    "path": {"type": "path"},
    # Not from the environment: beside a path it would be a second source.
    "url": {"type": "str"},
    "collections": {"type": "list", "elements": "str"},
    "destination": {"type": "str", "required": True},
    "overwrite": {"type": "bool", "default": False},
    "allow_missing_vectors": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**store_spec(), **OWN),
        mutually_exclusive=[("path", "url")],
        required_one_of=[("path", "url")],
        supports_check_mode=True,
    )
    options = module.params
    wanted = Wanted(options["collections"], options["overwrite"], options["allow_missing_vectors"])
    try:
        require_data_libraries()
        store = store_from(options["destination"], options)
        with contextlib.ExitStack() as stack:
            if options["path"]:
                source = DirectorySource(stack.enter_context(open_directory(options["path"])))
            else:
                source = ServerSource(client_from(options))
            result = export(source, store, wanted, check=module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
