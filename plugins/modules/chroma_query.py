#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_query
short_description: Find the nearest records of a collection of a Chroma server
version_added: 1.0.0
description:
  - Returns for each query embedding the nearest records of a collection, nearest first.
  - Embeddings have to be given; the server never makes one from text.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.attributes.info
options:
  collection:
    description: Name of the collection.
    type: str
    required: true
  query_embeddings:
    description: List of embeddings, each with as many numbers as the collection has dimensions.
    type: list
    elements: list
    required: true
  n_results:
    description: How many records to return for each embedding, at least 1.
    type: int
    default: 10
  where:
    description: Filter by metadata, in Chroma's notation.
    type: dict
  where_document:
    description: Filter by document, in Chroma's notation.
    type: dict
  include:
    description: What to return of each record beside its id.
    type: list
    elements: str
    choices: [distances, documents, embeddings, metadatas, uris]
    default: [distances, documents, metadatas]
seealso:
  - module: thinkube.chroma.chroma_record
"""

EXAMPLES = r"""
- name: Find what is nearest
  thinkube.chroma.chroma_query:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collection: books
    query_embeddings:
      - [0.1, 0.2, 0.3]
    n_results: 5
    where: {source: file1.txt}
  register: nearest

- name: Print the nearest document
  ansible.builtin.debug:
    msg: "{{ nearest.results[0][0].document }}"
"""

RETURN = r"""
results:
  description:
    - For each query embedding the list of its nearest records, nearest first.
    - Each has C(id), and by O(include) C(distance), C(document), C(metadata), C(embedding) and C(uri).
  returned: success
  type: list
  elements: list
  sample:
    - - id: doc1
        distance: 0.0
        document: The first document
        metadata: {source: file1.txt}
code:
  description: Stable identifier of the error, such as V(not_found), V(dimension_mismatch) or V(invalid_request).
  returned: failure
  type: str
  sample: not_found
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Check the name, the tenant and the database.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._records import find_nearest

PARTS = ["distances", "documents", "embeddings", "metadatas", "uris"]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(
            collection={"type": "str", "required": True},
            query_embeddings={"type": "list", "elements": "list", "required": True},
            n_results={"type": "int", "default": 10},
            where={"type": "dict"},
            where_document={"type": "dict"},
            include={"type": "list", "elements": "str", "choices": PARTS, "default": ["distances", "documents", "metadatas"]},
        ),
        supports_check_mode=True,
    )
    asked = {key: module.params[key] for key in ("query_embeddings", "n_results", "where", "where_document", "include")}
    try:
        results = find_nearest(client_from(module.params), module.params["collection"], **asked)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, results=results)


if __name__ == "__main__":
    main()
