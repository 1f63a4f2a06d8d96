# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Increments while a server writes: it goes on, saves an index just then, or was killed with entries that only its log has."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import servers
from chains import DIMENSION, Chain, directories, merged, numbered, same, small, state_of, write
from test_datadir import append, fill, served

from ansible_collections.thinkube.chroma.plugins.module_utils._answers import Collection
from ansible_collections.thinkube.chroma.plugins.module_utils._client import ChromaClient
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.directory import open_directory
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.layout import DATA_FILE
from ansible_collections.thinkube.chroma.plugins.module_utils._datadir.write_lock import write_lock
from ansible_collections.thinkube.chroma.plugins.module_utils._increment import reading
from ansible_collections.thinkube.chroma.plugins.module_utils._increment.vectors import stamp
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection

NEWEST = servers.VERSIONS[-1]


def test_a_writer_never_stops(tmp_path):
    """Each increment is one of the states between what was acknowledged before the lock and what was asked for before its end."""
    data, root = directories(tmp_path)
    asked, acknowledged, over = [0], [0], threading.Event()
    with servers.running(NEWEST, data=data) as server:
        place = ChromaClient(Connection(server.url, timeout=120))
        collection = small(place, "written")

        def operate(number: int) -> None:
            name = f"id-{number % 50}"
            if number % 7 == 3:
                place.delete(collection, [name])
            else:
                write(place, collection, "upsert", [name], embeddings=[[float(number)] * DIMENSION], documents=[str(number)])

        def run() -> None:
            for number in itertools.count(1):
                if over.is_set():
                    return
                asked[0] = number
                operate(number)
                acknowledged[0] = number

        with ThreadPoolExecutor(1) as pool:
            writer = pool.submit(run)
            try:
                chain, bounds = Chain(data, root), []
                while acknowledged[0] < 100:
                    assert not writer.done(), writer.result()
                    time.sleep(0.01)
                for each in range(7):
                    before = acknowledged[0]
                    manifest = chain.increment() if each else chain.base()
                    bounds.append((before, asked[0]))
                    print(manifest.pause_seconds, bounds[-1])
                    while acknowledged[0] < bounds[-1][1] + 60:
                        assert not writer.done(), writer.result()
                        time.sleep(0.01)
            finally:
                over.set()
            writer.result()
    for number, (low, high) in enumerate(bounds):
        [(_about, rows)] = list(merged(root / "0", chain.trees[1 : number + 1], tmp_path / "ids").values())
        held = {name: (row["document"], row["embedding"][0]) for name, row in rows.items()}
        assert held in [modelled(last) for last in range(low, high + 1)], number


def modelled(last: int) -> dict[str, tuple[str, float]]:
    """Return what the records are after so many operations of the writer."""
    found: dict[str, tuple[str, float]] = {}
    for number in range(1, last + 1):
        name = f"id-{number % 50}"
        if number % 7 == 3:
            found.pop(name, None)
        else:
            found[name] = (str(number), float(number))
    return found


@contextlib.contextmanager
def rewritten(tmp_path: Path) -> Iterator[tuple[servers.Server, Collection, Chain]]:
    """Run a server half of whose records were written again since the base of a chain."""
    data, root = directories(tmp_path)
    with servers.running(NEWEST, data=data) as server:
        place = ChromaClient(Connection(server.url))
        collection = small(place, "saved")
        numbered(place, collection, 0, 60)
        chain = Chain(data, root)
        chain.base()
        numbered(place, collection, 30, 60)
        yield server, collection, chain


def test_an_index_that_is_saved_between_our_look_and_the_lock(tmp_path, monkeypatch):
    """What was read of it before is not believed."""
    looked = []
    with rewritten(tmp_path) as (server, collection, chain):
        place = ChromaClient(Connection(server.url))

        @contextlib.contextmanager
        def late(*arguments: Any) -> Iterator[Any]:
            [folder] = [each for each in chain.data.iterdir() if each.is_dir()]
            before = stamp(folder)
            numbered(place, collection, 70, 100)
            place.delete(collection, ["id-75"])
            looked.append(stamp(folder) != before)
            with write_lock(*arguments) as held:
                yield held

        monkeypatch.setattr(reading, "write_lock", late)
        chain.increment()
        state = state_of(server.url)
    assert looked == [True]
    same(merged(chain.root / "0", chain.trees[1:], tmp_path / "ids"), state, settings=False)


def test_a_save_that_goes_on_under_the_lock_is_waited_for(tmp_path, monkeypatch):
    """A server saves the files first and then asks for the lock; half of them may be new."""
    with rewritten(tmp_path) as (server, _collection, chain):
        state = state_of(server.url)
    [folder] = [each for each in chain.data.iterdir() if each.is_dir()]
    whole = (folder / DATA_FILE).read_bytes()

    def save() -> None:
        for length in (0, len(whole) // 3, len(whole) // 2, len(whole)):
            (folder / DATA_FILE).write_bytes(whole[:length])
            time.sleep(0.03)

    @contextlib.contextmanager
    def meanwhile(*arguments: Any) -> Iterator[Any]:
        with write_lock(*arguments) as held, ThreadPoolExecutor(1) as pool:
            saving = pool.submit(save)
            time.sleep(0.01)
            yield held
            saving.result()

    monkeypatch.setattr(reading, "write_lock", meanwhile)
    monkeypatch.setattr(reading, "SETTLE", 2.0)  # a busy machine makes longer pauses between two writes than a server does
    chain.increment()
    same(merged(chain.root / "0", chain.trees[1:], tmp_path / "ids"), state, settings=False)


def test_entries_of_the_log_that_no_table_has_yet(tmp_path):
    """As a server leaves them that was killed: in the base, in the increment, and applied before the next one."""
    data, root = directories(tmp_path)
    with servers.running(NEWEST, data=data) as server:
        fill(ChromaClient(Connection(server.url)), seed=5)
        before = served(server.url)
    chain, states = Chain(data, root), []
    for number in range(4):
        with open_directory(data) as directory:
            collections = [each for each in directory.collections() if each.dimension is not None]
        for each in collections:
            names = list(before[each.tenant, each.database, each.name][1])
            if number != 2:
                append(data, each, names[number * 7 :], lists=True)
        chain.increment(live=False) if number else chain.base(live=False)
        copy = tmp_path / "copy"
        shutil.copytree(data, copy)
        with servers.running(NEWEST, data=copy) as server:
            states.append({key: ({"space": space}, rows) for key, (space, rows) in served(server.url).items()})
        shutil.rmtree(copy)
        if number == 1:
            with servers.running(NEWEST, data=data) as server:
                assert served(server.url)
    for number, state in enumerate(states):
        same(merged(root / "0", chain.trees[1 : number + 1], tmp_path / "ids"), state, settings=False)
