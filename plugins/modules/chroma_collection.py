#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_collection
short_description: Create, change, rename or delete a collection of a Chroma server
version_added: 1.0.0
description:
  - Makes sure that a collection exists with the given metadata and index settings, or that it does not exist.
  - Collections are created without an embedding function, so that no client loads the ONNX model of the default one.
    Records need embeddings, see M(thinkube.chroma.chroma_record).
  - Reads the collection back after each change.
  - A collection with records is deleted or renamed as a transaction, which can be undone, see
    M(thinkube.chroma.chroma_collection_undo) - first a restore point of it goes into O(repository), and is read back. What fails is
    rolled back. What was killed is completed or rolled back by the next transaction.
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.connection
  - thinkube.chroma.transaction
  - thinkube.chroma.repository
  - thinkube.chroma.dataset
  - thinkube.chroma.cluster
  - thinkube.chroma.attributes
options:
  name:
    description:
      - Name of the collection, 3 to 512 (Chroma 0.x 63) of the characters C(a-z A-Z 0-9 . _ -).
      - It starts and ends with a letter or digit, has no two consecutive periods, and is no IPv4 address.
    type: str
    required: true
  state:
    description:
      - V(present) creates the collection, or changes what differs.
      - V(absent) deletes it with its records, and sees that nothing of it is left.
    type: str
    choices: [present, absent]
    default: present
  new_name:
    description:
      - Rename the collection O(name) to this.
      - Nothing is done where only a collection of the new name exists. It is an error where both or none exist.
    type: str
  force:
    description:
      - Whether a collection with records is deleted or renamed without a restore point, where there is no O(repository).
      - What was deleted so is gone for good.
    type: bool
    default: false
    version_added: 1.3.0
  damaged:
    description:
      - With O(state=absent), delete a collection whose index is damaged, after M(thinkube.chroma.chroma_recover) has recovered it as
        another one. The server is asked for nothing but the deletion, because one that loads such an index may end.
      - Instead of a restore point, what SQLite has of it goes into quarantine in O(path), which is needed.
        M(thinkube.chroma.chroma_repair) removes it there after its grace time. It cannot be undone.
      - Refused with the code V(no_restore_point) unless the journal names a collection that it was recovered as, and that one has
        records; O(force) deletes it all the same.
    type: bool
    default: false
    version_added: 1.3.0
  metadata:
    description:
      - The whole metadata of the collection. What is not in it is removed, because Chroma replaces metadata and does not merge.
      - Values are text, integers, floats and booleans. Lists are refused before they are sent, because they crash a worker of the server.
      - Keys C(hnsw:*) are refused, and kept where the collection has them; use O(space) and O(hnsw).
      - Left as it is where this is not set. V({}) removes it.
    type: dict
  space:
    description:
      - Distance function of the index. Chroma uses V(l2) where it is not set.
      - It cannot be changed after creation; asking for another one is an error with the code V(immutable).
    type: str
    choices: [l2, cosine, ip]
  hnsw:
    description:
      - Other settings of the index. What is not set is left to Chroma, or as it is.
      - O(hnsw.ef_search), O(hnsw.resize_factor) and O(hnsw.sync_threshold) can be changed later on Chroma 1.x, nothing on 0.x.
    type: dict
    suboptions:
      ef_construction:
        description: Candidates that are looked at when a record is inserted.
        type: int
      ef_search:
        description: Candidates that are looked at in a query.
        type: int
      max_neighbors:
        description: Edges of a node. Called C(M) by Chroma 0.x.
        type: int
      resize_factor:
        description: Growth of the index when it is full.
        type: float
      sync_threshold:
        description: Records after which the index is written to disk.
        type: int
seealso:
  - module: thinkube.chroma.chroma_collection_info
  - module: thinkube.chroma.chroma_collection_undo
  - module: thinkube.chroma.chroma_record
"""

EXAMPLES = r"""
- name: Create a collection
  thinkube.chroma.chroma_collection:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    name: books
    space: cosine
    metadata:
      description: Chapters of our books
      year: 2026

- name: Rename it, with a restore point
  thinkube.chroma.chroma_collection:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    name: books
    new_name: library
    path: /data
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password

- name: Delete it, with a restore point, from a machine that does not have the data directory
  thinkube.chroma.chroma_collection:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    name: library
    state: absent
    journal_path: /var/lib/chroma-journal
    repository: /backups/chroma
    repository_password_file: /etc/chroma-backup/password

- name: Delete a damaged collection that was recovered as another one
  thinkube.chroma.chroma_collection:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    name: books-damaged
    state: absent
    damaged: true
    path: /data

- name: Delete what nobody will miss
  thinkube.chroma.chroma_collection:
    url: https://chroma.example.com
    token: "{{ chroma_token }}"
    name: scratch
    state: absent
    force: true
"""

RETURN = r"""
collection:
  description: The collection after the change, or before its deletion; in check mode as it would be. Empty where there was none to delete.
  returned: success
  type: dict
  contains:
    id:
      description: UUID.
      returned: when the collection exists
      type: str
    name:
      description: Name.
      type: str
    metadata:
      description: Metadata, without settings of the index.
      type: dict
    dimension:
      description: Dimension of the embeddings; null while the collection is empty, and on Chroma 0.4.
      returned: when the collection exists
      type: int
    space:
      description: Distance function.
      returned: when the collection exists
      type: str
    configuration:
      description: Settings of the index, as far as the server says them.
      type: dict
    embedding_function:
      description: Name of the embedding function that other clients are told to use; empty where there is none.
      returned: when the collection exists
      type: str
    tenant:
      description: Tenant.
      returned: when the collection exists
      type: str
    database:
      description: Database.
      returned: when the collection exists
      type: str
  sample:
    id: 2701772f-0f7a-4995-88b9-7e0471e727d4
    name: books
    metadata: {description: Chapters of our books}
    dimension: 384
    space: cosine
    configuration: {space: cosine, ef_construction: 100, ef_search: 100, max_neighbors: 16, resize_factor: 1.2, sync_threshold: 1000}
    embedding_function: ""
    tenant: default_tenant
    database: default_database
records:
  description: Records that the collection had.
  returned: when it was deleted or renamed, or would be
  type: int
  sample: 20000
restore_point:
  description: Id of the backup that holds the collection as it was before; empty where none was made.
  returned: when it was deleted or renamed, or would be
  type: str
  sample: 20260831T121500Z-9c03d1
quarantine:
  description: Id of the quarantine with what SQLite had of a damaged collection; otherwise empty.
  returned: when it was deleted, or would be
  type: str
  sample: ""
entry:
  description: Number of the transaction in the journal, for M(thinkube.chroma.chroma_collection_undo); null without a journal.
  returned: when it was deleted or renamed, or would be
  type: int
  sample: 17
finished:
  description: Transactions that had been interrupted, and what became of them now.
  returned: when it was deleted or renamed, or would be
  type: list
  elements: dict
  contains:
    entry:
      description: Number in the journal.
      type: int
    operation:
      description: V(delete-collection), V(rename-collection) or V(undo-collection).
      type: str
    collection:
      description: The collection, as C(tenant/database/name).
      type: str
    status:
      description: V(done), V(rolled_back) or V(interrupted).
      type: str
    reason:
      description: Why.
      type: str
  sample: []
rolled_back:
  description: Whether everything is again as it was before. Otherwise the next transaction goes on with that.
  returned: failure, once the transaction had begun
  type: bool
  sample: true
code:
  description: Stable identifier of the error, such as V(invalid_name), V(immutable), V(conflict), V(not_found) or V(no_restore_point).
  returned: failure
  type: str
  sample: conflict
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Choose another new_name, or delete the existing collection first.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._arguments import connection_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._signals import end_in_order
from ansible_collections.thinkube.chroma.plugins.module_utils._transaction.arguments import collection_from, transaction_spec

HNSW = {
    "ef_construction": {"type": "int"},
    "ef_search": {"type": "int"},
    "max_neighbors": {"type": "int"},
    "resize_factor": {"type": "float"},
    "sync_threshold": {"type": "int"},
}
OWN = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "new_name": {"type": "str"},
    "metadata": {"type": "dict"},
    "space": {"type": "str", "choices": ["l2", "cosine", "ip"]},
    "hnsw": {"type": "dict", "options": HNSW},
    "force": {"type": "bool", "default": False},
    "damaged": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=connection_spec(**transaction_spec(), **OWN),
        mutually_exclusive=[("path", "journal_path")],
        supports_check_mode=True,
    )
    end_in_order()
    try:
        result = collection_from(module.params, module.check_mode)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    for warning in result.pop("warnings", ()):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
