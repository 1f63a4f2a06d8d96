# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts: a Kubernetes Event on the server's StatefulSet, and a webhook. FOR INTERNAL COLLECTION USE ONLY.

An alert that could not be delivered is said, and fails nothing: what it is about matters more than how it is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from ansible.module_utils.basic import env_fallback

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import Object, open_session
from ansible_collections.thinkube.chroma.plugins.module_utils._progress import emit
from ansible_collections.thinkube.chroma.plugins.module_utils._restore.pause import Workload
from ansible_collections.thinkube.chroma.plugins.module_utils._transport import Connection, Unanswered, encode, http_exchange

COMPONENT = "thinkube.chroma"
# Environment variable with the address of the webhook.
WEBHOOK = "CHROMA_ALERT_WEBHOOK"
# Seconds until a webhook has to answer, and between its two tries.
WEBHOOK_TIMEOUT, WEBHOOK_PAUSE = 10.0, 1.0
# An API server keeps that much of an Event's message.
LONGEST_MESSAGE = 1024
_MAY_PASS = (429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Alert:
    """What somebody has to know.

    Args:
        reason: one word in CamelCase that tells this kind of alert from others, for example ``CollectionDamaged``.
        message: what was seen and what to do next; never a secret.
        warning: false for good news, such as the end of a fault.
        facts: what a program needs of it, as JSON takes it; never a secret.
        once: tells this alert from others of its reason; the same one is no second Event as long as the cluster keeps the first, an hour.
            Empty for one that is an Event each time.
    """

    reason: str
    message: str
    warning: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)
    once: str = ""


class Channel(Protocol):
    """A way to tell somebody."""

    def deliver(self, alert: Alert) -> None:
        """Deliver an alert, or raise :class:`ChromaError` with the reason why it was not."""


@dataclass(frozen=True)
class Events:
    """Kubernetes Events on the StatefulSet: ``kubectl events`` and ``kubectl describe statefulset`` show them.

    Args:
        workload: the server.
    """

    workload: Workload

    def deliver(self, alert: Alert) -> None:
        """Create the Event.

        Raises:
            ChromaError: those of the session.
        """
        uid = ""
        # Needed only by those who look for the Events of this very object; creating one asks for no right to read.
        with contextlib.suppress(ChromaError):
            uid = (self.workload.read() or {"metadata": {"uid": ""}})["metadata"]["uid"]
        event = plan_event(alert, self.workload.namespace, self.workload.name, uid, datetime.now(UTC))
        try:
            self.workload.session.create("Event", event, self.workload.namespace)
        except ChromaError as error:
            if error.code != "conflict" or not alert.once:
                raise


@dataclass(frozen=True)
class Webhook:
    """An HTTP endpoint that takes an alert as JSON by POST; chat services show its ``text``.

    Args:
        url: may hold a secret in its path or query, so only its scheme and host are ever shown.
        ca_path: file of PEM certificates that are trusted beside the system's.
        timeout: seconds until it has to answer.
        sleep: replaced in unit tests.
    """

    url: str = field(repr=False)
    ca_path: str | None = None
    timeout: float = WEBHOOK_TIMEOUT
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def deliver(self, alert: Alert) -> None:
        """Send the alert; once more where it was not taken.

        Raises:
            ChromaError: ``invalid_url``, ``redirected``, ``refused``, ``unavailable``, or what :func:`_transport.http_exchange` tells.
        """
        base, path = _split(self.url)
        # Where it is sent is where the user said: a redirection would take the alert, and perhaps a secret, to another host.
        post = http_exchange(Connection(base, ca_path=self.ca_path, timeout=self.timeout))
        payload = encode(plan_body(alert, datetime.now(UTC)))
        error = ChromaError("unreachable", "")
        for attempt in range(2):
            if attempt:
                self.sleep(WEBHOOK_PAUSE)
            try:
                reply = post("POST", path, payload)
            except Unanswered as failure:
                error = _told(failure.error, base, path)
                if error.code == "tls":
                    break
                continue
            if 200 <= reply.status < 300:
                return
            # What it says of the request may cite the address: the status has to do.
            error = _refused(base, reply.status)
            if reply.status not in _MAY_PASS:
                break
        raise error


def alert_spec() -> dict[str, dict[str, Any]]:
    """Return the argument spec of the options of fragment ``alerts``; those of ``cluster`` belong to it."""
    return {
        "statefulset": {"type": "str"},
        "webhook_url": {"type": "str", "no_log": True, "fallback": (env_fallback, [WEBHOOK])},
        "webhook_ca_path": {"type": "path"},
    }


def channels_from(params: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Return the channels that the options of a module describe; none where none is set.

    Raises:
        ChromaError: see :func:`_kube.open_session`.
    """
    channels: list[Channel] = []
    if params["statefulset"]:
        channels.append(Events(Workload(open_session(dict(params)), params["namespace"], params["statefulset"])))
    if params["webhook_url"]:
        channels.append(Webhook(params["webhook_url"], params["webhook_ca_path"]))
    return tuple(channels)


def send(alert: Alert, channels: Sequence[Channel]) -> list[str]:
    """Deliver an alert by all channels, and as an event of the running operation.

    Returns:
        Why it was not delivered, a sentence for each channel that failed; empty where all took it.
    """
    return list(delivered(alert, channels).values())


def delivered(alert: Alert, channels: Sequence[Channel]) -> dict[str, str]:
    """Do as :func:`send`, and return the sentences by the names of the channels."""
    emit("warning" if alert.warning else "message", message=f"{alert.reason}: {alert.message}")
    failures = {}
    for channel in channels:
        try:
            channel.deliver(alert)
        except ChromaError as error:
            failures[channel_name(channel)] = f"Alert {alert.reason} was not delivered. {error.message} {error.hint}".strip()
    for each in failures.values():
        emit("warning", message=each)
    return failures


def channel_name(channel: Channel) -> str:
    """Return what a channel is noted as; there is one of a kind."""
    return type(channel).__name__


def plan_event(alert: Alert, namespace: str, name: str, uid: str, now: datetime) -> Object:
    """Return the Event for an alert.

    Format: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/, of group core, which ``kubectl`` shows.

    Args:
        namespace, name, uid: of the StatefulSet; without uid it is found by its name alone.
    """
    moment = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    message = alert.message if len(alert.message) <= LONGEST_MESSAGE else alert.message[: LONGEST_MESSAGE - 2] + " …"
    unique = hashlib.sha256(alert.once.encode()).hexdigest() if alert.once else uuid.uuid4().hex
    own = f"{alert.reason.lower()}.{unique[:16]}" if alert.once else unique[:16]
    involved = {"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": namespace, "name": name}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{own}", "namespace": namespace},
        "involvedObject": {**involved, "uid": uid} if uid else involved,
        "reason": alert.reason,
        "message": message,
        "type": "Warning" if alert.warning else "Normal",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }


def plan_body(alert: Alert, now: datetime) -> dict[str, Any]:
    """Return the JSON document of a webhook: ``source``, ``time``, ``type``, ``reason``, ``text`` and ``facts``."""
    return {
        "source": COMPONENT,
        "time": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "type": "Warning" if alert.warning else "Normal",
        "reason": alert.reason,
        "text": f"{alert.reason}: {alert.message}",
        "facts": dict(alert.facts),
    }


def _split(url: str) -> tuple[str, str]:
    """Return scheme and host of a webhook, which may be shown, and the rest, which may not.

    Raises:
        ChromaError: ``invalid_url``; it does not cite the address.
    """
    hint = "Use the form https://host/path; what is secret in it belongs to its path or query."
    wrong = ChromaError("invalid_url", "The address of the webhook is not valid.", hint)
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        raise wrong from None
    if not valid or any(not "!" <= each <= "~" for each in url):
        raise wrong
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _refused(base: str, status: int) -> ChromaError:
    message = f"The webhook at {base} answered with status {status}."
    if 300 <= status < 400:
        return ChromaError("redirected", message, "Set webhook_url to the address that it redirects to.")
    return ChromaError("unavailable" if status in _MAY_PASS else "refused", message, "Look at its own log, and at its address.")


def _told(error: ChromaError, base: str, path: str) -> ChromaError:
    """Return an error of the transport without the part of the address that may hold a secret."""
    message = error.message.replace(f"POST {base}{path}", f"The webhook at {base}")
    hint = "Pass its certificate authority as webhook_ca_path." if error.code == "tls" else "Look whether it can be reached from here."
    return ChromaError(error.code, message.replace(path, "…") if len(path) > 1 else message, hint)
