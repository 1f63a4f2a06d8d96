# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the value of a setting may be, each kind a rule. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import MANAGED_BY, OWNER
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.problem import Problem
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import is_boolean, parse_quantity, parse_version

# Takes the name of a setting and its value, and returns what is wrong.
Rule = Callable[[str, Any], list[Problem]]

# The oldest release on which this collection is tested; 0.4 has no /api/v2, which the probes ask for.
OLDEST_VERSION = (0, 5, 23)
SCOPES = ("read", "write")
# What role server sets itself; Kubernetes refuses a variable that is given twice.
OWN_ENVIRONMENT = ("ANONYMIZED_TELEMETRY", "IS_PERSISTENT", "PERSIST_DIRECTORY")

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DNS_LABEL = re.compile(rf"{_LABEL}\Z")
DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")
_APPLICATION = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
_REPOSITORY = re.compile(r"s3://[^/@]+/[^@]+\Z")
_ENVIRONMENT = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*\Z")
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_LABEL_TEXT = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"((?=[^/]{{1,253}}/){_LABEL}(\.{_LABEL})*/)?{_LABEL_TEXT}\Z")
_LABEL_VALUE = re.compile(rf"({_LABEL_TEXT})?\Z")


def pattern(wanted: re.Pattern[str], expected: str, hint: str = "") -> Rule:
    """Return a rule that asks for text of a pattern."""

    def rule(name: str, value: Any) -> list[Problem]:
        return [] if wanted.match(str(value)) else [Problem(name, expected, repr(value), hint)]

    return rule


def one_of(choices: tuple[str, ...]) -> Rule:
    """Return a rule that asks for one of some texts."""

    def rule(name: str, value: Any) -> list[Problem]:
        return [] if value in choices else [Problem(name, f"one of {', '.join(choices)}", repr(value))]

    return rule


def quantity(name: str, value: Any) -> list[Problem]:
    """Ask for a Kubernetes quantity above zero."""
    if parse_quantity(value):
        return []
    return [Problem(name, "a Kubernetes quantity above zero", repr(value), "Write 10Gi for 10 gibibytes, 500m for half a core.")]


def number(name: str, value: Any) -> list[Problem]:
    """Ask for a whole number above zero."""
    if not isinstance(value, bool) and str(value).isdecimal() and int(value) > 0:
        return []
    return [Problem(name, "a whole number above zero", repr(value))]


def port(name: str, value: Any) -> list[Problem]:
    """Ask for a port that a container without privileges can bind to."""
    # The containers run without privileges, and those can't bind to ports below 1024.
    if not isinstance(value, bool) and str(value).isdecimal() and 1024 <= int(value) <= 65535:
        return []
    return [Problem(name, "a port from 1024 to 65535", repr(value))]


def replicas(name: str, value: Any) -> list[Problem]:
    """Ask for 1."""
    if not isinstance(value, bool) and str(value) == "1":
        return []
    return [Problem(name, "1", repr(value), "A second server on the same data destroys them; give the one more CPU and memory instead.")]


def version(name: str, value: Any) -> list[Problem]:
    """Ask for a release of Chroma that is supported."""
    release = parse_version(value)
    if release is None:
        return [
            Problem(
                name, "a release of Chroma such as 1.5.9", repr(value), "It decides how the server is started, also for an image by digest."
            )
        ]
    if release < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        return [
            Problem(
                name, f"{oldest} or later", repr(value), "Older servers are not supported: 0.4 has no /api/v2, which the probes ask for."
            )
        ]
    return []


def application(name: str, value: Any) -> list[Problem]:
    """Ask for an application and its scope."""
    if isinstance(value, dict) and _APPLICATION.match(str(value.get("name", ""))) and value.get("scope") in SCOPES:
        return []
    return [Problem(name, "{name: lower-case letters, digits and hyphens, scope: read or write}", repr(value))]


def boolean(name: str, value: Any) -> list[Problem]:
    """Ask for true or false."""
    return [] if is_boolean(value) else [Problem(name, "true or false", repr(value))]


def namespaces(name: str, value: Any) -> list[Problem]:
    """Ask for a list of one or more namespaces."""
    if isinstance(value, list) and value and all(isinstance(each, str) and DNS_LABEL.match(each) for each in value):
        return []
    return [Problem(name, "a list of one or more namespaces", repr(value), "On the command line, write it as JSON.")]


def labels(name: str, value: Any) -> list[Problem]:
    """Ask for labels, among them the one by which an installation is found."""
    if not isinstance(value, dict) or value.get(MANAGED_BY) != OWNER:
        return [Problem(name, f"labels, {MANAGED_BY}: {OWNER} among them", repr(value), "Without it, no removal finds what was installed.")]
    if "app" in value:
        return [Problem(f"{name}.app", "no such label", repr(value["app"]), "The Services choose the pod by it.")]
    return [
        Problem(f"{name}.{key}", "a label and its value, both text", repr(text), "Put numbers and booleans in quotes.")
        for key, text in value.items()
        if not (_LABEL_KEY.match(str(key)) and isinstance(text, str) and _LABEL_VALUE.match(text))
    ]


def environment(name: str, value: Any) -> list[Problem]:
    """Ask for a list of variables of a container."""
    if not isinstance(value, list):
        return [Problem(name, "a list of {name: …, value: …}", repr(value))]
    problems, taken = [], set(OWN_ENVIRONMENT)
    for each in value:
        # A value may be a secret: none is repeated.
        variable = str(each.get("name", "")) if isinstance(each, dict) else ""
        valued = isinstance(each, dict) and (isinstance(each.get("value"), str) or isinstance(each.get("valueFrom"), dict))
        if not (_ENVIRONMENT.match(variable) and valued and set(each) <= {"name", "value", "valueFrom"} and len(each) == 2):
            expected = "{name: …, value: text} or {name: …, valueFrom: {…}}"
            seen = f"something else for {variable or 'one of them'}"
            problems.append(Problem(name, expected, seen, "Put numbers and booleans in quotes."))
        elif variable in taken:
            problems.append(Problem(name, "each variable once", f"{variable} again", f"{', '.join(OWN_ENVIRONMENT)} are set already."))
        taken.add(variable)
    return problems


def pull_secrets(name: str, value: Any) -> list[Problem]:
    """Ask for a list of references to Secrets."""

    def known(each: Any) -> bool:
        return isinstance(each, dict) and set(each) == {"name"} and bool(DNS_NAME.match(str(each["name"])))

    return [] if isinstance(value, list) and all(map(known, value)) else [Problem(name, "a list of {name: …}", repr(value))]


def file(name: str, value: Any) -> list[Problem]:
    """Ask for a file on this host."""
    if os.path.isfile(os.path.expanduser(os.path.expandvars(str(value)))):
        return []
    hint = "It must be on the host where the play runs; the system's authorities are asked where it is empty."
    return [Problem(name, "a file with certificates of authorities", f"{value!r}, which is none", hint)]


def repository(name: str, value: Any) -> list[Problem]:
    """Ask for the address of a repository in S3."""
    if _REPOSITORY.match(str(value)):
        return []
    # A key may be in it, and is not repeated.
    seen = repr(re.sub(r"://.*@", "://…@", str(value)))
    return [Problem(name, "s3://bucket/prefix, or nothing for the volume of chroma_backup_pvc", seen, "Keys come from chroma_s3_secret.")]


def absolute_path(name: str, value: Any) -> list[Problem]:
    """Ask for an absolute path."""
    return [] if str(value).startswith("/") else [Problem(name, "an absolute path", repr(value))]
