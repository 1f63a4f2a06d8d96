# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the data playbooks hand over fits into a pod's termination message, however much a module returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.thinkube.chroma.plugins.module_utils._operation import termination_message

ROOT = Path(__file__).resolve().parents[2]
MANY = 700
IDS = [f"20260831T{number:06}Z-{number:06x}" for number in range(MANY)]
BACKUPS = [{"id": each, "kind": "full", "records": 1, "verified": "", "restorable": True, "damaged": False, "keep": False} for each in IDS]
COLLECTIONS = [
    {"label": f"default_tenant/default_database/a-collection-{number}", "fate": "replaced", "now": 200000, "then": 199999, "lost": 1}
    for number in range(MANY)
]
WARNINGS = [f"{number} processes of other users could not be looked at." for number in range(MANY)]
RESTORED = {
    "backup": IDS[0],
    "chain": IDS[:25],
    "note": "",
    "lost_records": MANY,
    "collections": COLLECTIONS,
    "warnings": WARNINGS,
    "changed": True,
}
# By data playbook: what its module returned, what is cut to twenty, and what says how many there were.
RETURNED = {
    "prune": ({"chroma_pruned": {"removed": IDS, "backups": BACKUPS, "changed": True}}, ("removed",), ("count",)),
    "backups": (
        {"chroma_backups": {"newest": IDS[0], "backups": BACKUPS, "damage": {"backups": IDS}}},
        ("backups", "damaged"),
        ("count", "damaged_count"),
    ),
    "restore": ({"chroma_restored": RESTORED}, ("collections",), ("lost_records",)),
    "undo_restore": ({"chroma_undone": RESTORED}, ("collections",), ("lost_records",)),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each playbook hands over, by Ansible's own templating."""
    folder = tmp_path_factory.mktemp("results")
    plays = []
    for name, (returned, _cut, _counts) in RETURNED.items():
        [play] = yaml.safe_load((ROOT / "playbooks" / "data" / f"{name}.yaml").read_text())
        [data] = [each["ansible.builtin.set_stats"]["data"] for each in play["tasks"] if "ansible.builtin.set_stats" in each]
        copy = {"dest": str(folder / name), "content": "{{ chroma_result | to_json }}", "mode": "0600"}
        plays.append(
            {
                "hosts": "localhost",
                "gather_facts": False,
                "vars": {**returned, **data, "ansible_python_interpreter": sys.executable},
                "tasks": [{"ansible.builtin.copy": copy}],
            }
        )
    (folder / "play.yaml").write_text(json.dumps(plays))
    environment = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "0", "HOME": str(folder)}
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", str(folder / "play.yaml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((folder / name).read_text()) for name in RETURNED}


@pytest.mark.parametrize("name", RETURNED)
def test_lists_are_cut_to_twenty_and_counted_and_nothing_is_dropped(name, results):
    _returned, cut, counts = RETURNED[name]
    result = results[name]
    assert [len(result[each]) for each in cut] == [20] * len(cut)
    assert [result[each] for each in counts] == [MANY] * len(counts)
    document = {"operation": name, "exit_code": 0, "meaning": "done", "result": result}
    assert json.loads(termination_message(document)) == document


@pytest.mark.parametrize("name", ["restore", "undo_restore"])
def test_the_first_warnings_of_a_restore_are_handed_over(name, results):
    assert results[name]["warnings"] == WARNINGS[:5]
