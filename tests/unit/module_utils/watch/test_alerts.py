# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts: what a webhook and the cluster get, and what is said where they don't."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import object_path
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import (
    LONGEST_MESSAGE,
    Alert,
    Events,
    Webhook,
    channels_from,
    plan_event,
    send,
)
from ansible_collections.thinkube.chroma.tests.unit import kube_api
from ansible_collections.thinkube.chroma.tests.unit.module_utils.watch import hooks

ALERT = Alert("CollectionDamaged", "Collection docs: It has no records.", facts={"collection": "docs", "generation": 12})
EVENTS = object_path("Event", "chroma")


@pytest.fixture
def hook() -> Iterator[hooks.Hook]:
    with hooks.serve() as served:
        yield served


@pytest.fixture
def api() -> Iterator[kube_api.KubeApi]:
    with kube_api.serve() as served:
        yield served


def webhook(url: str, timeout: float = 5.0) -> Webhook:
    return Webhook(url, timeout=timeout, sleep=lambda seconds: None)


def events_of(api: kube_api.KubeApi) -> Events:
    return Events(Workload(api.session(), "chroma", "chroma"))


def test_a_webhook_gets_the_alert_as_json_that_programs_and_chats_understand(hook: hooks.Hook) -> None:
    assert send(ALERT, [webhook(hook.url)]) == []
    [body] = hook.bodies
    assert datetime.fromisoformat(body.pop("time")).tzinfo is UTC
    assert body == {
        "source": "thinkube.chroma",
        "type": "Warning",
        "reason": "CollectionDamaged",
        "text": "CollectionDamaged: Collection docs: It has no records.",
        "facts": {"collection": "docs", "generation": 12},
    }
    assert hook.headers[0]["Content-Type"] == "application/json"


def test_good_news_are_no_warning(hook: hooks.Hook, api: kube_api.KubeApi) -> None:
    send(Alert("CollectionHealthy", "It is healthy again.", warning=False), [webhook(hook.url), events_of(api)])
    assert hook.bodies[0]["type"] == "Normal"
    assert [each["type"] for path, each in api.objects.items() if path.startswith(EVENTS)] == ["Normal"]


@pytest.mark.parametrize(("statuses", "times", "delivered"), [([503, 200], 2, True), ([500], 2, False), ([404], 1, False)])
def test_what_may_pass_is_tried_once_more(hook: hooks.Hook, statuses: list[int], times: int, delivered: bool) -> None:
    hook.statuses = statuses
    failures = send(ALERT, [webhook(hook.url)])
    assert (len(hook.bodies), not failures) == (times, delivered)


def test_a_slow_webhook_has_its_time_and_no_more(hook: hooks.Hook) -> None:
    hook.hang = threading.Event()
    [failure] = send(ALERT, [webhook(hook.url, timeout=0.2)])
    assert "no answer within 0.2 s" in failure
    assert len(hook.bodies) == 2


def test_a_redirection_is_not_followed(hook: hooks.Hook) -> None:
    with hooks.serve() as other:
        hook.statuses, hook.location = [302], other.url
        [failure] = send(ALERT, [webhook(hook.url)])
        assert other.bodies == []
    assert "answered with status 302" in failure


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    [
        f"http://127.0.0.1:{closed_port()}/{hooks.SECRET}",
        f"https://127.0.0.1:{closed_port()}/{hooks.SECRET}?a={hooks.SECRET}",
        f"ftp://127.0.0.1/{hooks.SECRET}",
        f"http://me:{hooks.SECRET.replace('/', '')}@127.0.0.1/{hooks.SECRET}",
        f"http://127.0.0.1/{hooks.SECRET} \n",
        f"http://[::1/{hooks.SECRET}",
        hooks.SECRET,
    ],
    ids=["closed", "closed TLS", "scheme", "password", "space", "host", "no URL"],
)
def test_an_address_that_does_not_work_is_said_without_its_secret(url: str) -> None:
    [failure] = send(ALERT, [webhook(url)])
    assert failure.startswith("Alert CollectionDamaged was not delivered. ")
    assert not any(part in failure for part in hooks.SECRET.split("/"))
    assert hooks.SECRET not in repr(webhook(url))


@pytest.mark.parametrize("statuses", [[404], [500], [302]])
def test_the_secret_of_a_webhook_is_in_no_failure_also_where_the_server_cites_it(
    hook: hooks.Hook, statuses: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    events.bind(str(tmp_path / "events"))
    events.setblocking(False)
    monkeypatch.setenv("CHROMA_OPERATION_SOCKET", str(tmp_path / "events"))
    hook.statuses = statuses
    failures = send(ALERT, [webhook(hook.url)])
    said = [json.loads(events.recv(65536)) for _event in range(2)]
    assert [each["message"] for each in said] == ["CollectionDamaged: Collection docs: It has no records.", *failures]
    assert not any(part in failures[0] for part in hooks.SECRET.split("/"))
    events.close()


def test_an_event_lies_on_the_statefulset(api: kube_api.KubeApi) -> None:
    uid = api.put("StatefulSet", "chroma", "chroma", spec={})["metadata"]["uid"]
    assert send(ALERT, [events_of(api)]) == []
    [event] = [each for path, each in api.objects.items() if path.startswith(EVENTS)]
    assert event["involvedObject"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "chroma", "name": "chroma", "uid": uid}
    assert (event["type"], event["reason"], event["message"]) == ("Warning", ALERT.reason, ALERT.message)


def test_an_event_needs_no_right_to_read_the_statefulset(api: kube_api.KubeApi) -> None:
    api.answers["GET", object_path("StatefulSet", "chroma", "chroma")] = (403, b'{"message": "no"}')
    assert send(ALERT, [events_of(api)]) == []
    [event] = [each for path, each in api.objects.items() if path.startswith(EVENTS)]
    assert "uid" not in event["involvedObject"]


def test_the_same_trouble_is_one_event_as_long_as_the_cluster_keeps_it(api: kube_api.KubeApi) -> None:
    for code in ("unreachable", "unreachable", "unauthorized"):
        assert send(Alert("CheckFailed", "It could not be checked.", once=f"docs/{code}"), [events_of(api)]) == []
    assert len([path for path in api.objects if path.startswith(EVENTS)]) == 2


def test_a_channel_that_fails_keeps_no_other_from_being_used(api: kube_api.KubeApi, hook: hooks.Hook) -> None:
    api.answers["POST", EVENTS] = (403, b'{"message": "events is forbidden"}')
    [failure] = send(ALERT, [events_of(api), webhook(hook.url)])
    assert "events is forbidden" in failure
    assert len(hook.bodies) == 1


def test_a_long_message_is_cut_as_the_cluster_would_refuse_it() -> None:
    event = plan_event(Alert("A", "x" * 5000), "chroma", "chroma", "", datetime(2026, 1, 2, tzinfo=UTC))
    assert len(event["message"]) == LONGEST_MESSAGE
    assert event["message"].endswith("x …")
    assert event["firstTimestamp"] == "2026-01-02T00:00:00Z"


def test_channels_are_those_that_are_set(api: kube_api.KubeApi, tmp_path: Path) -> None:
    options = {"statefulset": None, "webhook_url": None, "webhook_ca_path": None, "namespace": "chroma", "context": None}
    assert channels_from({**options, "kubeconfig": None}) == ()
    both = channels_from({**options, "kubeconfig": api.kubeconfig(tmp_path), "statefulset": "chroma", "webhook_url": "http://hook.test/"})
    assert [type(each) for each in both] == [Events, Webhook]
    with pytest.raises(ChromaError) as raised:
        channels_from({**options, "kubeconfig": str(tmp_path / "none"), "statefulset": "chroma"})
    assert raised.value.code == "kubeconfig_missing"
