# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of findings, its documentation, and reports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.findings import KINDS, MINOR, SEVERE, finding, some
from ansible_collections.thinkube.chroma.plugins.module_utils._fsck.report import Report, order

DOCS = Path(__file__).resolve().parents[4] / "docs" / "findings.md"


def test_each_finding_has_a_section_with_its_anchor_title_and_severity():
    text = DOCS.read_text()
    sections = re.findall(r'<a id="(\w+)"></a>\n### (\w+) (.+)\n\n\*(\w+)\.\*', text)
    assert sections == [(kind.id.lower(), kind.id, kind.title, kind.severity) for kind in KINDS.values()]


def test_the_catalogue_is_complete_and_in_order():
    assert list(KINDS) == sorted(KINDS)
    for kind in KINDS.values():
        assert re.fullmatch(r"CHR\d{3}", kind.id)
        assert kind.severity in (MINOR, SEVERE)
        assert kind.title
        assert kind.lost.endswith(".")
        assert kind.remedy.endswith(".")


def test_the_worst_finding_decides_the_exit_code():
    minor, severe = finding("CHR017", "a"), finding("CHR050", "b")
    assert [Report("/data", False, each).rc for each in ([], [minor], [minor, severe])] == [0, 3, 4]


def test_the_place_is_a_finding_and_none_of_the_data():
    report = Report("/data", False, [finding("CHR101", "a"), finding("CHR017", "b"), finding("CHR102", "c")])
    assert report.rc == 4
    assert [each.kind.id for each in report.of_data] == ["CHR017"]


@pytest.mark.parametrize("left", [{"skipped": ["the log: busy"]}, {"unconfirmed": ["CHR070 x"]}])
def test_what_was_not_decided_is_not_healthy(left):
    severe = finding("CHR050", "b")
    result = Report("/data", True, **left).as_result()
    assert (result["rc"], result["summary"]["healthy"], result["summary"]["complete"]) == (3, False, False)
    assert "nothing found, not all checked" in result["table"][-1]
    assert Report("/data", True, [severe], **left).rc == 4


def test_what_is_left_out_each_time_is_said_and_no_finding():
    result = Report("/data", True, limits=["SQLite's own check: large"]).as_result()
    assert (result["rc"], result["summary"]["healthy"], result["summary"]["complete"]) == (0, True, False)
    assert "nothing found, not all checked" in result["table"][-1]
    assert any("SQLite's own check: large" in line for line in result["table"])


def test_findings_are_sorted_and_said_once():
    minor, severe = finding("CHR017", "a"), finding("CHR050", "b", "t/d/c")
    again = finding("CHR050", "b, seen again", "t/d/c")
    assert order([minor, severe, again]) == [severe, minor]


def test_the_table_says_what_where_lost_and_to_do_in_short_lines():
    report = Report(
        "/data", False, [finding("CHR050", "It is gone. " * 20, "t/d/books")], [], ["the log: busy"], ["CHR070 x"], {"collections": 3}
    )
    table = report.as_result()["table"]
    assert table[0] == "severe  CHR050  t/d/books"
    text = "\n".join(table)
    assert "CHR050  The label map is missing" in text
    assert "lost  Vectors" in text
    assert "do    Restore" in text
    assert "not checked\n    the log: busy" in text
    assert "not confirmed\n    CHR070 x" in text
    assert table[-1].startswith("/data: 1 severe and 0 minor findings, not all checked; 3")
    assert all(len(line) <= 76 for line in table)


def test_a_healthy_report_is_one_line():
    assert Report("/data", False, summary={"collections": 2, "seconds": 0.1}).as_result()["table"] == [
        "/data: nothing found; 2 collections, 0.1 s"
    ]


def test_long_lists_are_cut():
    assert some([1, 2]) == "1, 2"
    assert some(range(9)) == "0, 1, 2, 3, 4 and 4 more"
