#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_record
short_description: Write or delete records of a collection of a Chroma server
version_added: 1.0.0
description:
  - Writes the records that differ from those of the collection, or deletes records by id or by a filter.
  - Compares before it writes. Embeddings are compared as float32; in a collection with the distance function V(cosine)
    to 1e-6 of their length.
  - Writes in batches that the server takes, by count and by bytes, and reads back what it wrote.
  - Never uses Chroma's C(add), which ignores an existing id silently.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.attributes
options:
  collection:
    description: Name of the collection. In check mode it may be absent, as an earlier task would have created it.
    type: str
    required: true
  state:
    description:
      - V(present) writes O(records).
      - V(absent) deletes the records that O(ids), O(where) and O(where_document) all hold for.
    type: str
    choices: [present, absent]
    default: present
  records:
    description: Records to write. Needed when O(state=present).
    type: list
    elements: dict
    suboptions:
      id:
        description: Identifier, not empty, once in the list.
        type: str
        required: true
      embedding:
        description:
          - Finite numbers, as many as the collection has dimensions.
          - Needed by a record that does not exist yet; the server never makes one from text. Left as it is where it is not set.
        type: list
        elements: float
      document:
        description: Text. Left as it is where it is not set.
        type: str
      metadata:
        description:
          - Keys to set. Other keys are left as they are, because Chroma merges the metadata of records. Null removes a key.
          - Values are text, 64-bit integers, finite floats and booleans, and from Chroma 1.5 on lists of one of these.
        type: dict
      uri:
        description: Where the content comes from. Left as it is where it is not set.
        type: str
  ids:
    description: Identifiers of the records to delete. An empty list is a condition too, which no record meets.
    type: list
    elements: str
  where:
    description: Filter by metadata of the records to delete, in Chroma's notation.
    type: dict
  where_document:
    description: Filter by document of the records to delete, in Chroma's notation.
    type: dict
seealso:
  - module: thinkube.chroma.chroma_collection
  - module: thinkube.chroma.chroma_query
"""

EXAMPLES = r"""
- name: Write two records
  thinkube.chroma.chroma_record:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collection: books
    records:
      - id: doc1
        embedding: [0.1, 0.2, 0.3]
        document: The first document
        metadata: {source: file1.txt, page: 1}
      - id: doc2
        embedding: [0.4, 0.5, 0.6]
        document: The second document
        metadata: {source: file2.txt, page: 1}

- name: Change metadata only
  thinkube.chroma.chroma_record:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collection: books
    records:
      - id: doc1
        metadata: {page: 2}

- name: Delete all that came from a file
  thinkube.chroma.chroma_record:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    collection: books
    state: absent
    where: {source: file2.txt}
"""

RETURN = r"""
created:
  description: Ids of the records that did not exist.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [doc1]
updated:
  description: Ids of the records that existed and differed.
  returned: when O(state=present)
  type: list
  elements: str
  sample: [doc2]
unchanged:
  description: How many records were as wanted already.
  returned: when O(state=present)
  type: int
  sample: 0
deleted:
  description: Ids of the records that were deleted.
  returned: when O(state=absent)
  type: list
  elements: str
  sample: []
written:
  description: How many records the server had taken before it refused one.
  returned: failure of a later batch
  type: int
  sample: 5461
code:
  description: Stable identifier of the error, such as V(not_found), V(dimension_mismatch), V(invalid_record) or V(too_large).
  returned: failure
  type: str
  sample: dimension_mismatch
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Use the model that filled the collection, or another collection.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import client_from, connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._records import Record, ensure_no_records, ensure_records

RECORD = {
    "id": {"type": "str", "required": True},
    "embedding": {"type": "list", "elements": "float"},
    "document": {"type": "str"},
    "metadata": {"type": "dict"},
    "uri": {"type": "str"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(
            collection={"type": "str", "required": True},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
            records={"type": "list", "elements": "dict", "options": RECORD},
            ids={"type": "list", "elements": "str"},
            where={"type": "dict"},
            where_document={"type": "dict"},
        ),
        required_if=[("state", "present", ["records"]), ("state", "absent", ["ids", "where", "where_document"], True)],
        supports_check_mode=True,
    )
    params, check = module.params, module.check_mode
    try:
        client = client_from(params)
        if params["state"] == "present":
            result = ensure_records(client, params["collection"], [Record(**each) for each in params["records"]], check)
        else:
            conditions = (params["ids"], params["where"], params["where_document"])
            result = ensure_no_records(client, params["collection"], *conditions, check=check)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
