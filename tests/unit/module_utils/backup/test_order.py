# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the order: numbers that would stop the server each time are refused before anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._backup.order import Order
from ansible_collections.thinkube.chroma.plugins.module_utils._backup.trees import Source
from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError


@pytest.mark.parametrize("wrong", [{"pause": 0.0}, {"pause": -1.0}, {"pause": float("nan")}, {"tries": 0}, {"tries": -1}])
def test_a_pause_or_a_number_of_tries_that_can_not_be_meant_is_refused(wrong):
    with pytest.raises(ChromaError) as refused:
        Order(source=Source(Path("/data"), **wrong)).check()
    assert refused.value.code == "invalid_value"


def test_what_can_be_meant_is_not():
    Order(source=Source(Path("/data"), pause=0.5, tries=1)).check()
