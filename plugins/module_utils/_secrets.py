# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The namespace of a release, its tokens and its copy of the certificate. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import ADOPTED, CREATED, Object, Session, is_ours


@dataclass(frozen=True)
class Application:
    """A program with a token of its own.

    Attributes:
        name: lower-case letters, digits and hyphens.
        scope: ``read`` or ``write``.
    """

    name: str
    scope: str

    @property
    def key(self) -> str:
        """The key of its token in the Secret."""
        return f"token.{self.name}.{self.scope}"


@dataclass(frozen=True)
class Wanted:
    """What must be there.

    Attributes:
        namespace: the release's namespace.
        namespace_labels: labels of the namespace, for example Thinkube's.
        labels: labels of both Secrets; the managed-by label among them makes them ours.
        auth_secret: name of the Secret with the tokens.
        admin_token: the administrator's token.
        admin_username: the administrator's name.
        applications: programs that need a token.
        tls_source: (namespace, name) of the platform's certificate Secret.
        tls_secret: name of its copy.
    """

    namespace: str
    namespace_labels: dict[str, str]
    labels: dict[str, str]
    auth_secret: str
    admin_token: str = field(repr=False)
    admin_username: str
    applications: tuple[Application, ...]
    tls_source: tuple[str, str]
    tls_secret: str


@dataclass(frozen=True)
class Existing:
    """What was found; None where absent."""

    namespace: Object | None
    auth: Object | None = field(repr=False)
    tls_source: Object | None = field(repr=False)
    tls_copy: Object | None = field(repr=False)


@dataclass(frozen=True)
class Change:
    """One object to create or to patch.

    Attributes:
        action: ``create`` or ``patch``.
        kind, name: the object.
        body: the whole object, or the merge patch; holds secrets.
        before, after: names of labels and keys with a word instead of each value, for the diff.
    """

    action: str
    kind: str
    name: str
    body: Object = field(repr=False)
    before: dict[str, str]
    after: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """What is to be changed, in order, and the tokens that are there afterwards (names and scopes only)."""

    changes: tuple[Change, ...]
    tokens: tuple[dict[str, str], ...]

    def diff(self) -> dict[str, Any]:
        """Return ``before`` and ``after`` for Ansible's diff mode; no value of a Secret is in them."""
        return {
            "before": {f"{change.kind} {change.name}": change.before for change in self.changes},
            "after": {f"{change.kind} {change.name}": change.after for change in self.changes},
        }


def ensure_secrets(session: Session, wanted: Wanted, check_mode: bool) -> Plan:
    """Make the namespace, the tokens and the copy of the certificate what they must be.

    Args:
        session: the cluster.
        wanted: what must be there.
        check_mode: plan only.

    Raises:
        ChromaError: ``certificate_missing``, ``certificate_incomplete``, ``namespace_terminating``, ``not_verified``, and those
            of the session.
    """
    plan = plan_secrets(_read(session, wanted), wanted)
    if plan.changes and not check_mode:
        for change in plan.changes:
            namespace = "" if change.kind == "Namespace" else wanted.namespace
            if change.action == "create":
                session.create(change.kind, change.body, namespace)
            else:
                session.patch(change.kind, change.name, change.body, namespace)
        left = plan_secrets(_read(session, wanted), wanted).changes
        if left:
            names = ", ".join(f"{change.kind} {change.name}" for change in left)
            raise ChromaError(
                "not_verified",
                f"Written to namespace {wanted.namespace}, but what is read back differs: {names}.",
                "Does an operator or an admission webhook change these objects?",
            )
    return plan


def plan_secrets(existing: Existing, wanted: Wanted, generate: Callable[[], str] = lambda: secrets.token_hex(24)) -> Plan:
    """Compare what exists with what is wanted.

    A token of an application is generated once and then kept. Where only its scope changed, the token keeps its value and
    the key with the former scope goes, because the gateway would grant both. Keys that nobody asked for stay.

    Args:
        existing: what was found.
        wanted: what must be there.
        generate: returns a new token.
    """
    namespace_phase = ((existing.namespace or {}).get("status") or {}).get("phase")
    if namespace_phase == "Terminating":
        raise ChromaError(
            "namespace_terminating", f"Namespace {wanted.namespace} is being deleted.", "Wait until it is gone, then run again."
        )
    certificate = _certificate(existing.tls_source, wanted.tls_source)
    data = _tokens(existing.auth, wanted, generate)
    changes = (
        _plan_namespace(existing.namespace, wanted),
        _plan_secret(existing.auth, wanted, wanted.auth_secret, "Opaque", data),
        _plan_secret(existing.tls_copy, wanted, wanted.tls_secret, "kubernetes.io/tls", certificate),
    )
    present = {**((existing.auth or {}).get("data") or {}), **data}
    keys = sorted(key for key, value in present.items() if value is not None)
    return Plan(tuple(change for change in changes if change), tuple(_describe(key) for key in keys if _describe(key)))


def _read(session: Session, wanted: Wanted) -> Existing:
    source_namespace, source_name = wanted.tls_source
    return Existing(
        session.get("Namespace", wanted.namespace),
        session.get("Secret", wanted.auth_secret, wanted.namespace),
        session.get("Secret", source_name, source_namespace),
        session.get("Secret", wanted.tls_secret, wanted.namespace),
    )


def _certificate(source: Object | None, where: tuple[str, str]) -> dict[str, str | None]:
    name = "/".join(where)
    if source is None:
        raise ChromaError(
            "certificate_missing",
            f"The certificate Secret {name} does not exist.",
            "Let the platform issue its wildcard certificate, or set chroma_tls_source_namespace and chroma_tls_source_secret.",
        )
    data = source.get("data") or {}
    lacking = [key for key in ("tls.crt", "tls.key") if not data.get(key)]
    if lacking:
        raise ChromaError(
            "certificate_incomplete",
            f"The certificate Secret {name} lacks {' and '.join(lacking)}.",
            "It must be of type kubernetes.io/tls.",
        )
    return {"tls.crt": data["tls.crt"], "tls.key": data["tls.key"]}


def _tokens(auth: Object | None, wanted: Wanted, generate: Callable[[], str]) -> dict[str, str | None]:
    present: dict[str, str] = (auth or {}).get("data") or {}
    data: dict[str, str | None] = {"auth-token": _encode(wanted.admin_token), "admin-username": _encode(wanted.admin_username)}
    for application in wanted.applications:
        other = Application(application.name, "read" if application.scope == "write" else "write")
        value = present.get(application.key) or present.get(other.key) or _encode(generate())
        data[application.key] = value
        for suffix in ("", ".previous"):
            if other.key + suffix in present:
                data[other.key + suffix] = None
    return data


def _plan_namespace(existing: Object | None, wanted: Wanted) -> Change | None:
    if existing is None:
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": wanted.namespace, "labels": wanted.namespace_labels, "annotations": {CREATED: "true"}},
        }
        return Change("create", "Namespace", wanted.namespace, body, {}, dict(wanted.namespace_labels))
    labels = _differing(existing["metadata"].get("labels"), wanted.namespace_labels)
    if not labels:
        return None
    before = {key: value for key, value in (existing["metadata"].get("labels") or {}).items() if key in labels}
    return Change("patch", "Namespace", wanted.namespace, {"metadata": {"labels": labels}}, before, labels)


def _plan_secret(existing: Object | None, wanted: Wanted, name: str, kind: str, data: dict[str, str | None]) -> Change | None:
    if existing is None:
        metadata = {"name": name, "namespace": wanted.namespace, "labels": wanted.labels}
        body = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}
        return Change("create", "Secret", name, body, {}, dict.fromkeys(sorted(data), "set"))
    present = existing.get("data") or {}
    labels = _differing(existing["metadata"].get("labels"), wanted.labels)
    values = {key: value for key, value in data.items() if present.get(key) != value}
    if not labels and not values:
        return None
    before = {key: "present" if key in present else "absent" for key in sorted(values)}
    after = {key: "removed" if values[key] is None else "new value" for key in sorted(values)}
    before |= {key: value for key, value in (existing["metadata"].get("labels") or {}).items() if key in labels}
    merged: Object = {"labels": labels}
    if name == wanted.auth_secret and not is_ours(existing):
        # Others made it, so its tokens are not ours to delete, whatever its labels say from now on.
        merged["annotations"] = {ADOPTED: "true"}
    return Change("patch", "Secret", name, {"metadata": merged, "data": values}, before, {**after, **labels})


def _differing(present: dict[str, str] | None, wanted: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if (present or {}).get(key) != value}


def _describe(key: str) -> dict[str, str]:
    if key == "auth-token":
        return {"name": "admin", "scope": "admin", "key": key}
    parts = key.split(".")
    if len(parts) == 3 and parts[0] == "token":
        return {"name": parts[1], "scope": parts[2], "key": key}
    return {}


def _encode(value: str) -> str:
    return base64.b64encode(value.encode("utf-8")).decode("ascii")
