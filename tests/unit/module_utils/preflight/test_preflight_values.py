# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities and image references are taken apart as Kubernetes and registries do it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import Image, parse_image, parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10Gi", 10 * 2**30),
        ("1k", 1000),
        ("250m", Decimal("0.25")),
        ("1e3", 1000),
        ("2E", 2 * 10**18),
        ("1.5Ki", 1536),
        (2, 2),
        ("10GB", None),
        ("", None),
        ("1 Gi", None),
    ],
)
def test_quantities(text, number):
    assert parse_quantity(text) == number


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("chroma", Image("chroma", "", "")),
        ("chroma:1.5.9", Image("chroma", "1.5.9", "")),
        ("127.0.0.1:5000/library/chroma:1.5.9", Image("127.0.0.1:5000/library/chroma", "1.5.9", "")),
        ("registry:5000/chroma", Image("registry:5000/chroma", "", "")),
        ("r.io/c:1@sha256:" + "a" * 64, Image("r.io/c", "1", "sha256:" + "a" * 64)),
        ("https://r.io/c:1", None),
        ("r.io/C:1", None),
        ("r.io/c:", None),
    ],
)
def test_image_references(text, image):
    assert parse_image(text) == image
