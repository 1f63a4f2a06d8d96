# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server as the environment names it."""

from __future__ import annotations

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.environment import server_url

LOCAL = {"CHROMADB_HOST": "localhost"}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        (LOCAL, "http://localhost:8000"),
        ({**LOCAL, "CHROMADB_PORT": "80"}, "http://localhost:80"),
        ({**LOCAL, "CHROMADB_PORT": "", "CHROMADB_USE_SSL": ""}, "http://localhost:8000"),
        ({**LOCAL, "CHROMADB_USE_SSL": "False"}, "http://localhost:8000"),
        ({**LOCAL, "CHROMADB_USE_SSL": "false"}, "http://localhost:8000"),
        ({**LOCAL, "CHROMADB_USE_SSL": "0"}, "http://localhost:8000"),
        ({**LOCAL, "CHROMADB_USE_SSL": "True", "CHROMADB_PORT": "443"}, "https://localhost:443"),
        ({**LOCAL, "CHROMADB_USE_SSL": "yes"}, "https://localhost:8000"),
        ({"CHROMADB_HOST": "::1"}, "http://[::1]:8000"),
        ({"CHROMA_API_URL": "https://chroma.test/base", **LOCAL}, "https://chroma.test/base"),
        ({"CHROMA_API_URL": "", **LOCAL}, "http://localhost:8000"),
    ],
)
def test_the_variables_are_read_as_documented(environ: dict[str, str], url: str) -> None:
    assert server_url(environ) == url


def test_a_url_that_is_given_goes_before_the_environment() -> None:
    assert server_url({"CHROMA_API_URL": "http://other.test"}, "http://chroma.test") == "http://chroma.test"


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({}, "CHROMADB_HOST"),
        ({"CHROMADB_HOST": " "}, "CHROMADB_HOST"),
        ({"CHROMADB_HOST": "http://localhost"}, "CHROMADB_HOST"),
        ({"CHROMADB_HOST": "me@localhost"}, "CHROMADB_HOST"),
        ({**LOCAL, "CHROMADB_PORT": "tcp://10.1.2.3:80"}, "enableServiceLinks"),
        ({**LOCAL, "CHROMADB_PORT": "0"}, "CHROMADB_PORT"),
        ({**LOCAL, "CHROMADB_PORT": "65536"}, "CHROMADB_PORT"),
        ({**LOCAL, "CHROMADB_PORT": "٨"}, "CHROMADB_PORT"),
        ({**LOCAL, "CHROMADB_USE_SSL": "maybe"}, "CHROMADB_USE_SSL"),
    ],
)
def test_what_can_not_be_meant_is_named(environ: dict[str, str], word: str) -> None:
    with pytest.raises(ChromaError) as raised:
        server_url(environ)
    assert raised.value.code == "invalid_value"
    assert word in f"{raised.value.message} {raised.value.hint}"
