# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be there before an operation: objects of the user, and passwords that are made once. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import RESOURCES, Object, Session


@dataclass(frozen=True)
class Required:
    """An object that must be there.

    Attributes:
        kind, name: the object.
        keys: keys of its ``data`` that must hold something.
        hint: what to do where it is absent.
    """

    kind: str
    name: str
    keys: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class Generated:
    """A value in a Secret that is made once and kept for ever.

    Attributes:
        secret: name of the Secret.
        key: key of the value.
        labels: labels of a Secret that is created; one that is there keeps its own.
    """

    secret: str
    key: str
    labels: dict[str, str] = field(default_factory=dict)


def require_objects(session: Session, namespace: str, required: Sequence[Required]) -> None:
    """Look for objects that somebody else provides.

    Raises:
        ChromaError: ``absent``, naming every object that is not there or lacks a key, each with what to do; those of the session.
    """
    problems = [problem for each in required if (problem := _problem(session, namespace, each))]
    if problems:
        raise ChromaError("absent", "Nothing was changed.\n- " + "\n- ".join(problems))


def ensure_generated(
    session: Session,
    namespace: str,
    wanted: Sequence[Generated],
    check_mode: bool,
    generate: Callable[[], str] = lambda: secrets.token_urlsafe(48),
) -> list[str]:
    """Make values that are absent; one that is there is never changed, because something was encrypted with it.

    Args:
        session: the cluster.
        namespace: where the Secrets are.
        wanted: the values.
        check_mode: look only.
        generate: returns a new value; 64 characters of which each has 6 bits.

    Returns:
        ``SECRET/KEY`` of each value that was made.

    Raises:
        ChromaError: ``not_verified`` where a new value is not what is read back; those of the session. Where two make one at once, the
            second sees the first one's and keeps it.
    """
    return [f"{each.secret}/{each.key}" for each in wanted if _generate(session, namespace, each, check_mode, generate)]


def _problem(session: Session, namespace: str, wanted: Required) -> str:
    if wanted.kind not in RESOURCES:
        raise ChromaError(
            "unknown_kind", f"Objects of kind {wanted.kind} are none of a release.", f"Known: {', '.join(sorted(RESOURCES))}."
        )
    name = f"{wanted.kind} {wanted.name} in namespace {namespace}"
    found = session.get(wanted.kind, wanted.name, namespace)
    if found is None:
        return f"There is no {name}. {wanted.hint}".strip()
    lacking = [key for key in wanted.keys if not (found.get("data") or {}).get(key)]
    return f"{name} lacks {' and '.join(lacking)}. {wanted.hint}".strip() if lacking else ""


def _generate(session: Session, namespace: str, wanted: Generated, check_mode: bool, generate: Callable[[], str]) -> bool:
    found = session.get("Secret", wanted.secret, namespace)
    if _value(found, wanted.key):
        return False
    if check_mode:
        return True
    value = base64.b64encode(generate().encode()).decode()
    try:
        if found is None:
            session.create("Secret", _secret(namespace, wanted, value), namespace)
        else:
            # With the version that was read: a value that somebody else wrote meanwhile is a conflict, and not overwritten.
            session.replace("Secret", {**found, "data": {**(found.get("data") or {}), wanted.key: value}}, namespace)
    except ChromaError as error:
        if error.code != "conflict" or not _value(session.get("Secret", wanted.secret, namespace), wanted.key):
            raise
        return False
    if _value(session.get("Secret", wanted.secret, namespace), wanted.key) != value:
        raise ChromaError(
            "not_verified",
            f"Written to Secret {wanted.secret} in namespace {namespace}, but what is read back differs: {wanted.key}.",
            "Does an operator or an admission webhook change it?",
        )
    return True


def _value(found: Object | None, key: str) -> str:
    return str(((found or {}).get("data") or {}).get(key) or "")


def _secret(namespace: str, wanted: Generated, value: str) -> Object:
    metadata = {"name": wanted.secret, "namespace": namespace, "labels": wanted.labels}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": {wanted.key: value}}
