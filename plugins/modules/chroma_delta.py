#!/usr/bin/python
# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: chroma_delta
short_description: Upload the directory of an embedded Chroma to S3, whole and proven or not at all
version_added: 1.2.0
description:
  - Uploads a data directory that nobody has open, with a checksum for each file, to a prefix of its own.
  - What lies there is downloaded again, compared, validated and opened by Chroma in a process of its own.
    Only then C(delta.json) appears beside the files, which makes them a delta.
  - An attempt that fails is removed, and another one begins after a pause.
  - Each run makes a new delta. For backups of a server with history and retention there is M(thinkube.chroma.chroma_backup).
author:
  - The thinkube.chroma contributors (@thinkube)
extends_documentation_fragment:
  - thinkube.chroma.dataset
  - thinkube.chroma.attributes
attributes:
  diff_mode:
    support: none
    details: [Files are not shown.]
options:
  path:
    description:
      - The directory that was given to C(chromadb.PersistentClient). The module fails while a process has it open.
    type: path
    required: true
  bucket:
    description: The bucket. It has to exist.
    type: str
    required: true
  prefix:
    description: Key prefix below which each attempt gets one of its own.
    type: str
    required: true
  max_retries:
    description: How many attempts there are in all.
    type: int
    default: 3
  validate_after_upload:
    description:
      - Whether the directory is validated before, and what was uploaded is downloaded and opened by Chroma.
      - Otherwise only the sizes of what was uploaded are compared.
    type: bool
    default: true
  backoff:
    description:
      - Seconds before the second attempt. Each further pause is twice as long, at most a minute, and randomly shortened by up to a half.
    type: float
    default: 2.0
requirements:
  - chromadb of the release that made the directory, or a later one, where it is validated
seealso:
  - name: Embedded Chroma and S3
    description: How to do the same from a program of your own.
    link: https://github.com/thinkube/thinkube.chroma/blob/main/docs/delta.md
  - module: thinkube.chroma.chroma_validate
"""

EXAMPLES = r"""
- name: Upload what a batch job has made
  thinkube.chroma.chroma_delta:
    path: /work/index
    bucket: vectors
    prefix: deltas/books
    s3_endpoint: https://s3.example.com
  environment:
    AWS_ACCESS_KEY_ID: "{{ s3_access_key }}"
    AWS_SECRET_ACCESS_KEY: "{{ s3_secret_key }}"
  register: delta

- name: Say where it is
  ansible.builtin.debug:
    msg: "{{ delta.prefix }}"
"""

RETURN = r"""
prefix:
  description: Key prefix of the delta in the bucket; in check mode the prefix that was given.
  returned: success
  type: str
  sample: deltas/books/20261121T090000Z-0a1b2c
files:
  description: How many files it has, C(delta.json) not counted.
  returned: success
  type: int
  sample: 6
bytes:
  description: Their size.
  returned: success
  type: int
  sample: 407740
collections:
  description: The collections in it, as C(tenant/database/name).
  returned: success
  type: list
  elements: str
  sample: [default_tenant/default_database/books]
records:
  description: How many records they have.
  returned: success
  type: int
  sample: 1500
attempts:
  description:
    - How many attempts it took; V(0) in check mode.
    - On failure a list with C(attempt), C(prefix), C(code), C(message) of each, and in C(left) what could not be removed.
  returned: success, and on failure of an attempt
  type: raw
  sample: 1
validated:
  description: Release of Chroma that opened what came back; empty where that was not wanted, and in check mode.
  returned: success
  type: str
  sample: 1.5.9
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 2.4
code:
  description: Stable identifier of the error, such as V(busy), V(damaged), V(no_bucket), V(forbidden) or V(invalid_delta).
  returned: failure
  type: str
  sample: busy
hint:
  description: What to do next.
  returned: failure
  type: str
  sample: Stop it, or wait until it is done; nothing was uploaded.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.thinkube.chroma.plugins.module_utils._dataset.arguments import settings_from, store_spec
from ansible_collections.thinkube.chroma.plugins.module_utils._delta.delta import Delta
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError

OWN = {
    "path": {"type": "path", "required": True},
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "required": True},
    "max_retries": {"type": "int", "default": 3},
    "validate_after_upload": {"type": "bool", "default": True},
    "backoff": {"type": "float", "default": 2.0},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**store_spec(), **OWN}, supports_check_mode=True)
    options = module.params
    try:
        delta = Delta(path=options["path"], settings=settings_from(options), scratch=module.tmpdir, backoff=options["backoff"])
        wanted = (options["bucket"], options["prefix"], options["max_retries"], options["validate_after_upload"])
        uploaded = delta.planned(*wanted) if module.check_mode else delta.upload(*wanted)
    except ChromaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=True, **uploaded.as_result())


if __name__ == "__main__":
    main()
