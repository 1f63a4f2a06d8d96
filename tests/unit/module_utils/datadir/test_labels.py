# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The label map: read as Chroma writes it, and nothing of it executed."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.thinkube.chroma.bench import synthetic
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir import labels
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import Damaged

MODULE = "chromadb.segment.impl.vector.local_persistent_hnsw"
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture
def persistent(monkeypatch: pytest.MonkeyPatch) -> type:
    """Return a class of the name that 0.x pickles, as long as the test runs."""
    made = type("PersistentData", (), {"__module__": MODULE, "__qualname__": "PersistentData"})
    module = types.ModuleType(MODULE)
    module.PersistentData = made  # type: ignore[attr-defined]
    for name in (MODULE.rsplit(".", count)[0] for count in range(MODULE.count("."), -1, -1)):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, MODULE, module)
    return made


def pickled(persistent: type, mapping: dict[str, int], protocol: int = pickle.HIGHEST_PROTOCOL, **changes: Any) -> bytes:
    """Return what 0.x writes."""
    data = persistent()
    data.__dict__.update(
        {
            "dimensionality": 4,
            "total_elements_added": len(mapping),
            "max_seq_id": 17,
            "id_to_label": mapping,
            "label_to_id": {label: name for name, label in mapping.items()},
            "id_to_seq_id": dict(mapping),
            **changes,
        }
    )
    return pickle.dumps(data, protocol)


def put(path: Path, content: bytes) -> Path:
    """Write a label map and return its path."""
    file = path / "index_metadata.pickle"
    file.write_bytes(content)
    return file


def mapping_of(read: labels.LabelMap) -> dict[str, int]:
    """Return a label map as a dictionary."""
    return dict(zip(read.ids.to_pylist(), read.labels.tolist(), strict=True))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 300, 1000, 1001, 3001])
def test_the_label_map_of_0_x(persistent, tmp_path, count, protocol):
    names = [f"{'long' * (n % 97)}-ü-{n}" for n in range(count)]
    mapping = {name: n + 1 if n % 2 else n + 70_000 for n, name in enumerate(names)}
    file = put(tmp_path, pickled(persistent, mapping, protocol))
    for inverse in (False, True):
        read = labels.read_labels(file, inverse=inverse)
        assert mapping_of(read) == mapping
        assert (read.dimension, read.total_elements, read.max_seq_id) == (4, count, 17)
        assert read.inverse_matches is (True if inverse else None)


@pytest.mark.parametrize("count", [0, 1, 300, 20_001])
def test_the_label_map_of_1_x(tmp_path, count):
    names = [f"ü-{n}" for n in range(count)]
    synthetic.write_labels(tmp_path / "index_metadata.pickle", names)
    for inverse in (False, True):
        read = labels.read_labels(tmp_path, inverse=inverse)
        assert mapping_of(read) == {name: n + 1 for n, name in enumerate(names)}
        assert (read.dimension, read.total_elements, read.max_seq_id) == (None, count, None)
        assert read.inverse_matches is (True if inverse else None)


@pytest.mark.parametrize("inverse", [{1: "a", 2: "a"}, {1: "a"}, {1: "b", 2: "a"}, {1: "a", 3: "b"}, {1: "a", 2: "b", 3: "c"}])
def test_an_inverse_that_differs_is_seen(persistent, tmp_path, inverse):
    file = put(tmp_path, pickled(persistent, {"a": 1, "b": 2}, label_to_id=inverse))
    assert labels.read_labels(file, inverse=True).inverse_matches is False
    assert mapping_of(labels.read_labels(file)) == {"a": 1, "b": 2}


def test_an_inverse_with_an_id_that_is_no_utf_8_is_damaged(tmp_path):
    content = b"\x80\x03}(X\x0b\x00\x00\x00id_to_label}(X\x01\x00\x00\x00aK\x01uX\x0b\x00\x00\x00label_to_id}(K\x01X\x01\x00\x00\x00\xffuu."
    file = put(tmp_path, content)
    assert mapping_of(labels.read_labels(file)) == {"a": 1}
    with pytest.raises(Damaged):
        labels.read_labels(file, inverse=True)


class Touch:
    """Unpickled by Python, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def attacks(target: Path) -> dict[str, bytes]:
    """Return pickles that would execute something, by what they use."""
    path = str(target).encode()
    text = b"X" + struct.pack("<I", len(path)) + path
    name = b"X" + struct.pack("<I", 2) + b"os" + b"X" + struct.pack("<I", 5) + b"mkdir"
    inside = b"\x80\x04}(X\x0b\x00\x00\x00id_to_label}(X\x01\x00\x00\x00a"
    return {
        "reduce": pickle.dumps(Touch(target)),
        "reduce, protocol 0": pickle.dumps(Touch(target), 0),
        "reduce, protocol 2": pickle.dumps(Touch(target), 2),
        "as a field": pickle.dumps({"id_to_label": {"a": 1}, "label_to_id": Touch(target)}),
        "as a label": pickle.dumps({"id_to_label": {"a": Touch(target)}, "label_to_id": {}}),
        "global in the map": inside + b"cos\nmkdir\n" + text + b"\x85Ru" + b"u.",
        "stack global in the map": inside + name + b"\x93" + text + b"\x85Ru" + b"u.",
        "instance": b"(" + text + b"ios\nmkdir\n.",
        "object": b"(cos\nmkdir\n" + text + b"o.",
        "new object": b"cos\nmkdir\n" + text + b"\x85\x81.",
        "new object with keywords": b"\x80\x04cos\nmkdir\n" + text + b"\x85}\x92.",
        "persistent id": b"P" + path + b"\n.",
        "extension": b"\x80\x02\x82\x01.",
        "build on a class": b"\x80\x04cos\nmkdir\n}b.",
        "another class of Chroma": b"cchromadb.segment.impl.vector.local_persistent_hnsw\nPersistentLocalHnswSegment\n)R.",
        "the right class, called": f"c{MODULE}\nPersistentData\n)R.".encode(),
    }


@pytest.mark.parametrize("attack", sorted(attacks(Path("x"))))
def test_a_malicious_pickle_executes_nothing(tmp_path, attack):
    target = tmp_path / "executed"
    for content in (attacks(target)[attack], b"\x80\x04" + attacks(target)[attack]):
        file = put(tmp_path, content)
        for inverse in (False, True):
            with pytest.raises(Damaged) as refused:
                labels.read_labels(file, inverse=inverse)
            assert refused.value.what == "labels"
    assert not target.exists()
    pickle.loads(attacks(target)["reduce"])
    assert target.exists(), "the attack itself does not work, so that the test proves nothing"


def test_what_is_named_is_told_and_not_imported(tmp_path):
    file = put(tmp_path, b"\x80\x04cthis_module_does_not_exist\nthing\n)R.")
    with pytest.raises(Damaged, match=r"unsafe: it names this_module_does_not_exist\.thing"):
        labels.read_labels(file)
    assert MODULE not in sys.modules


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"N.",
        b"}.",
        b"\x80\x03}(X\x0b\x00\x00\x00id_to_labelNu.",
        b"\x80\x03}(X\x0b\x00\x00\x00id_to_label}u",
        b"\x80\x03}(X\x0b\x00\x00\x00id_to_label}(X\x02\x00\x00\x00\xff\xffK\x01uu.",  # no UTF-8
        b"\x80\x03}(X\x0b\x00\x00\x00id_to_label}(K\x01K\x02uu.",  # numbers for ids
        b"\x80\x03}(X\x0b\x00\x00\x00id_to_label}(X\x01\x00\x00\x00auu.",  # an id without a label
        b"\x80\x03}X\xff\xff\xff\x7fshort.",  # a text of 2 GB
        b"\x80\x04}\x8d\xff\xff\xff\xff\xff\xff\xff\x7fshort.",  # and one of 8 EB
        b"\x80\x03" + b"(" * 100_000 + b".",
        b"\x80\x03" + b"}" * 100_000 + b".",
        b"\x80\x03" + b"N" * 100_000 + b".",
        b"\x80\x04" + b"}\x94" * 100_000 + b".",
        b"\x80\x03}(X\x0b\x00\x00\x00id_to_label}(X\x01\x00\x00\x00a\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01uu.",  # 2**64
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path, content):
    with pytest.raises(Damaged):
        labels.read_labels(put(tmp_path, content))


def test_an_absent_one_is_refused(tmp_path):
    with pytest.raises(Damaged, match="cannot be read"):
        labels.read_labels(tmp_path / "index_metadata.pickle")


@RELAXED
@given(data=st.data(), inverse=st.booleans())
def test_a_mutated_label_map_is_read_or_refused(tmp_path, data, inverse):
    synthetic.write_labels(tmp_path / "whole", [f"id-{n}" for n in range(40)])
    content = bytearray((tmp_path / "whole").read_bytes())
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=8)):
        content[place] = value
    keep = data.draw(st.integers(0, len(content)))
    file = put(tmp_path, bytes(content[:keep] if data.draw(st.booleans()) else content))
    try:
        read = labels.read_labels(file, inverse=inverse)
    except Damaged:
        return
    assert len(read.ids) == len(read.labels) <= 40


@RELAXED
@given(content=st.binary(max_size=400), inverse=st.booleans())
def test_any_bytes_are_refused(tmp_path, content, inverse):
    with pytest.raises(Damaged):
        labels.read_labels(put(tmp_path, b"\x80\x04" + content + b"."), inverse=inverse)
