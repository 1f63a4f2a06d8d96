# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the settings of a release, told all at once and without a cluster. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._kube import MANAGED_BY, OWNER

# The oldest release on which this collection is tested; 0.4 has no /api/v2, which the probes ask for.
OLDEST_VERSION = (0, 5, 23)

PLATFORM_VARIABLES = {
    "domain_name": "the platform's domain, for example example.com",
    "admin_username": "the platform's administrator, for example tkadmin",
    "primary_ingress_class": "the ingress class, for example nginx",
    "kubeconfig": "the kubeconfig on the control plane host",
    "harbor_registry": "the registry with the images, for example registry.example.com",
}

PREFIX = "chroma_"
EXPOSURES = ("ingress", "gateway")
SCOPES = ("read", "write")
SEVERITIES = ("severe", "minor", "never")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
# The longest that the gateway's map of tokens takes.
LONGEST_TOKEN = 1024
# What role server sets itself; Kubernetes refuses a variable that is given twice.
OWN_ENVIRONMENT = ("ANONYMIZED_TELEMETRY", "IS_PERSISTENT", "PERSIST_DIRECTORY")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")
_TOKEN = re.compile(r"[!#-&(-\[\]-_a-~]+\Z")
_APPLICATION = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)([-+.][0-9A-Za-z.+-]*)?\Z")
_BODY_SIZE = re.compile(r"\d+[kKmMgG]?\Z")
_ENVIRONMENT = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*\Z")
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_LABEL_TEXT = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"((?=[^/]{{1,253}}/){_LABEL}(\.{_LABEL})*/)?{_LABEL_TEXT}\Z")
_LABEL_VALUE = re.compile(rf"({_LABEL_TEXT})?\Z")
_IMAGE = re.compile(
    r"(?P<name>[a-z0-9.:-]+(?:/[a-z0-9._-]+)*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?\Z"
)
_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?\Z")
_UNITS = {"": Decimal(1), "m": Decimal("0.001")}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}


@dataclass(frozen=True)
class Problem:
    """One thing that stands in the way of an installation.

    Attributes:
        name: the variable or the object that is wrong.
        expected: what it must be.
        seen: what it is; never a secret.
        hint: what to do.
    """

    name: str
    expected: str
    seen: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, seen {self.seen}.{' ' + self.hint if self.hint else ''}"


@dataclass(frozen=True)
class Image:
    """The parts of an image reference: ``name[:tag][@digest]``."""

    name: str
    tag: str
    digest: str


def require_settings(settings: dict[str, Any], admin_password: str, defined: Iterable[str], known: Iterable[str]) -> None:
    """Refuse settings with problems; arguments as :func:`check_settings`.

    Raises:
        ChromaError: ``invalid_settings``, naming every problem; its result holds them as ``checks``.
    """
    problems = check_settings(settings, admin_password, defined, known)
    if problems:
        checks = [{**asdict(problem), "ok": False, "warning": False} for problem in problems]
        raise ChromaError("invalid_settings", "Nothing was changed.\n- " + "\n- ".join(map(str, problems)), result={"checks": checks})


def check_settings(settings: dict[str, Any], admin_password: str, defined: Iterable[str], known: Iterable[str]) -> list[Problem]:
    """Return every problem that the settings alone show.

    Args:
        settings: the platform's variables and those of role ``chroma``; what is undefined is absent, None or empty.
        admin_password: the administrator's token; only judged, never repeated.
        defined: names of all ``chroma_…`` variables that the inventory and the command line define.
        known: names of all ``chroma_…`` variables that exist.
    """
    problems = _missing(settings, admin_password)
    problems += _token(admin_password)
    problems += _misspelt(defined, known)
    # What is derived from an absent variable of the platform is empty too; that variable is named, not its consequences.
    incomplete = any(_is_empty(settings.get(name)) for name in PLATFORM_VARIABLES)
    for name, rule in RULES.items():
        value = settings.get(name)
        if not _is_empty(value):
            problems += rule(name, value)
        elif not incomplete:
            problems.append(Problem(name, "a value", "nothing", f"Set {name}, or leave it out for its default."))
    for name, rule in OPTIONAL_RULES.items():
        if not _is_empty(settings.get(name)):
            problems += rule(name, settings[name])
    problems += _resources(settings, "chroma_resources")
    problems += _resources(settings, "chroma_gateway_resources")
    problems += _resources(settings, "chroma_operations_resources")
    problems += _images(settings)
    problems += _copy_of_itself(settings)
    return problems


def is_true(value: Any) -> bool:
    """Tell whether a setting is true, also as text from ``-e``."""
    return str(value).lower() in _TRUE


def parse_quantity(value: Any) -> Decimal | None:
    """Return a Kubernetes quantity (``10Gi``, ``250m``, ``1``) as a number, or None if it is none.

    Format: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = _QUANTITY.match(str(value))
    if match is None:
        return None
    unit = match["unit"] or ""
    factor = Decimal(f"1{unit}") if unit[:1] in ("e", "E") and unit[1:].isdigit() else _UNITS[unit]
    return Decimal(match["number"]) * factor


def parse_version(value: Any) -> tuple[int, int, int] | None:
    """Return a release of Chroma (``1.5.9``) as three numbers, or None if it is none."""
    match = _VERSION.match(str(value))
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def parse_image(value: Any) -> Image | None:
    """Split an image reference, or return None if it is none.

    Format: https://pkg.go.dev/github.com/distribution/reference
    """
    match = _IMAGE.match(str(value))
    if match is None:
        return None
    name, tag = match["name"], match["tag"] or ""
    host, colon, rest = name.partition(":")
    if colon and "/" not in name:
        name, tag = host, rest
    return Image(name, tag, match["digest"] or "")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _missing(settings: dict[str, Any], admin_password: str) -> list[Problem]:
    problems = [
        Problem(name, meaning, "nothing", f"Define {name} in the inventory.")
        for name, meaning in PLATFORM_VARIABLES.items()
        if _is_empty(settings.get(name))
    ]
    if not admin_password:
        problems.append(
            Problem(
                "ADMIN_PASSWORD",
                "the administrator's token in the environment",
                "nothing",
                "Export ADMIN_PASSWORD before the playbook; without it the database would stand open.",
            )
        )
    return problems


def _token(admin_password: str) -> list[Problem]:
    if admin_password and not _TOKEN.match(admin_password):
        expected = "printable ASCII characters without spaces, quotes, backquotes and backslashes"
        return [Problem("ADMIN_PASSWORD", expected, "another character", "It travels in an HTTP header; choose another one.")]
    if len(admin_password) > LONGEST_TOKEN:
        return [Problem("ADMIN_PASSWORD", f"at most {LONGEST_TOKEN} characters", f"{len(admin_password)}", "Choose a shorter one.")]
    return []


def _misspelt(defined: Iterable[str], known: Iterable[str]) -> list[Problem]:
    names = sorted(known)
    problems = []
    for name in sorted(set(defined) - set(names)):
        # Compared without the prefix that they share, which would make any two alike.
        near = difflib.get_close_matches(name.removeprefix(PREFIX), [each.removeprefix(PREFIX) for each in names], n=1)
        hint = f"Did you mean {PREFIX}{near[0]}?" if near else "roles/chroma/README.md lists them all."
        problems.append(Problem(name, "a variable of this collection", "an unknown name", hint))
    return problems


def _pattern(pattern: re.Pattern[str], expected: str, hint: str = "") -> Callable[[str, Any], list[Problem]]:
    def rule(name: str, value: Any) -> list[Problem]:
        return [] if pattern.match(str(value)) else [Problem(name, expected, repr(value), hint)]

    return rule


def _one_of(choices: tuple[str, ...]) -> Callable[[str, Any], list[Problem]]:
    def rule(name: str, value: Any) -> list[Problem]:
        return [] if value in choices else [Problem(name, f"one of {', '.join(choices)}", repr(value))]

    return rule


def _quantity(name: str, value: Any) -> list[Problem]:
    if parse_quantity(value):
        return []
    return [Problem(name, "a Kubernetes quantity above zero", repr(value), "Write 10Gi for 10 gibibytes, 500m for half a core.")]


def _number(name: str, value: Any) -> list[Problem]:
    if not isinstance(value, bool) and str(value).isdecimal() and int(value) > 0:
        return []
    return [Problem(name, "a whole number above zero", repr(value))]


def _port(name: str, value: Any) -> list[Problem]:
    # The containers run without privileges, and those can't bind to ports below 1024.
    if not isinstance(value, bool) and str(value).isdecimal() and 1024 <= int(value) <= 65535:
        return []
    return [Problem(name, "a port from 1024 to 65535", repr(value))]


def _replicas(name: str, value: Any) -> list[Problem]:
    if not isinstance(value, bool) and str(value) == "1":
        return []
    return [Problem(name, "1", repr(value), "A second server on the same data destroys them; give the one more CPU and memory instead.")]


def _version(name: str, value: Any) -> list[Problem]:
    version = parse_version(value)
    if version is None:
        return [
            Problem(
                name, "a release of Chroma such as 1.5.9", repr(value), "It decides how the server is started, also for an image by digest."
            )
        ]
    if version < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        return [
            Problem(
                name, f"{oldest} or later", repr(value), "Older servers are not supported: 0.4 has no /api/v2, which the probes ask for."
            )
        ]
    return []


def _application(name: str, value: Any) -> list[Problem]:
    if isinstance(value, dict) and _APPLICATION.match(str(value.get("name", ""))) and value.get("scope") in SCOPES:
        return []
    return [Problem(name, "{name: lower-case letters, digits and hyphens, scope: read or write}", repr(value))]


def _boolean(name: str, value: Any) -> list[Problem]:
    return [] if str(value).lower() in (*_TRUE, *_FALSE) else [Problem(name, "true or false", repr(value))]


def _namespaces(name: str, value: Any) -> list[Problem]:
    if isinstance(value, list) and value and all(isinstance(each, str) and _DNS_LABEL.match(each) for each in value):
        return []
    return [Problem(name, "a list of one or more namespaces", repr(value), "On the command line, write it as JSON.")]


def _labels(name: str, value: Any) -> list[Problem]:
    if not isinstance(value, dict) or value.get(MANAGED_BY) != OWNER:
        return [Problem(name, f"labels, {MANAGED_BY}: {OWNER} among them", repr(value), "Without it, no removal finds what was installed.")]
    if "app" in value:
        return [Problem(f"{name}.app", "no such label", repr(value["app"]), "The Services choose the pod by it.")]
    return [
        Problem(f"{name}.{key}", "a label and its value, both text", repr(text), "Put numbers and booleans in quotes.")
        for key, text in value.items()
        if not (_LABEL_KEY.match(str(key)) and isinstance(text, str) and _LABEL_VALUE.match(text))
    ]


def _environment(name: str, value: Any) -> list[Problem]:
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


def _pull_secrets(name: str, value: Any) -> list[Problem]:
    def known(each: Any) -> bool:
        return isinstance(each, dict) and set(each) == {"name"} and bool(_DNS_NAME.match(str(each["name"])))

    return [] if isinstance(value, list) and all(map(known, value)) else [Problem(name, "a list of {name: …}", repr(value))]


def _file(name: str, value: Any) -> list[Problem]:
    if os.path.isfile(os.path.expanduser(os.path.expandvars(str(value)))):
        return []
    hint = "It must be on the host where the play runs; the system's authorities are asked where it is empty."
    return [Problem(name, "a file with certificates of authorities", f"{value!r}, which is none", hint)]


def _absolute_path(name: str, value: Any) -> list[Problem]:
    return [] if str(value).startswith("/") else [Problem(name, "an absolute path", repr(value))]


_LABEL_RULE = _pattern(_DNS_LABEL, "a DNS label (lower-case letters, digits, hyphens; at most 63)")
_NAME_RULE = _pattern(_DNS_NAME, "a DNS name (lower-case letters, digits, hyphens, dots; at most 253)")

RULES: dict[str, Callable[[str, Any], list[Problem]]] = {
    "domain_name": _pattern(_DNS_NAME, "a domain in lower case, without scheme, port or spaces", "For example example.com."),
    "chroma_hostname": _pattern(_DNS_NAME, "a host name in lower case, without scheme, port or spaces", "For example chroma.example.com."),
    "chroma_version": _version,
    "chroma_replicas": _replicas,
    "chroma_capacity": _quantity,
    "chroma_exposure": _one_of(EXPOSURES),
    "chroma_image_pull_policy": _one_of(PULL_POLICIES),
    "chroma_body_size": _pattern(_BODY_SIZE, "a size of nginx such as 100m"),
    "chroma_proxy_timeout": _number,
    "chroma_wait_timeout": _number,
    "chroma_selftest_timeout": _number,
    "chroma_termination_grace_period": _number,
    "chroma_run_as_user": _number,
    "chroma_data_path": _absolute_path,
    "chroma_discovery_token": _application,
    "chroma_port": _port,
    "chroma_server_port": _port,
    "chroma_storage_class": _NAME_RULE,
    "chroma_ingress_class": _NAME_RULE,
    "chroma_route_gateway": _NAME_RULE,
    "chroma_route_gateway_namespace": _LABEL_RULE,
    "chroma_route_section": _NAME_RULE,
    "chroma_tls_source_namespace": _LABEL_RULE,
    "chroma_tls_source_secret": _NAME_RULE,
    "chroma_namespace": _LABEL_RULE,
    "chroma_statefulset": _pattern(re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?\Z"), "a DNS label of at most 52 characters"),
    "chroma_service": _LABEL_RULE,
    "chroma_headless_service": _LABEL_RULE,
    "chroma_pvc": _NAME_RULE,
    "chroma_auth_secret": _NAME_RULE,
    "chroma_tls_secret": _NAME_RULE,
    "chroma_gateway_config": _NAME_RULE,
    "chroma_network_policy": _NAME_RULE,
    "chroma_disruption_budget": _NAME_RULE,
    "chroma_ingress": _NAME_RULE,
    "chroma_route": _NAME_RULE,
    "chroma_discovery_config": _NAME_RULE,
    "chroma_validate_fail_on": _one_of(SEVERITIES),
    "chroma_operations_scratch": _quantity,
    "chroma_operations_deadline": _number,
    "chroma_operations_keep": _number,
    "chroma_operations_service_account": _NAME_RULE,
    "chroma_operations_lock": _NAME_RULE,
    "chroma_labels": _labels,
    "chroma_network_policy_namespaces": _namespaces,
}

# Those of settings that may be empty.
OPTIONAL_RULES: dict[str, Callable[[str, Any], list[Problem]]] = {
    "chroma_adopt": _boolean,
    "chroma_allow_latest": _boolean,
    "chroma_ca_path": _file,
    "chroma_extra_env": _environment,
    "chroma_image_pull_secrets": _pull_secrets,
    "chroma_priority_class": _NAME_RULE,
}


def _resources(settings: dict[str, Any], name: str) -> list[Problem]:
    value = settings.get(name)
    if _is_empty(value):
        return []
    if not isinstance(value, dict) or not all(isinstance(value.get(part, {}), dict) for part in ("requests", "limits")):
        return [Problem(name, "{requests: {…}, limits: {…}}", repr(value))]
    requests, limits = value.get("requests", {}), value.get("limits", {})
    problems = []
    for part, quantities in (("requests", requests), ("limits", limits)):
        for resource, quantity in quantities.items():
            problems += _quantity(f"{name}.{part}.{resource}", quantity)
    for resource in requests.keys() & limits.keys():
        request, limit = parse_quantity(requests[resource]), parse_quantity(limits[resource])
        if request and limit and request > limit:
            problems.append(
                Problem(
                    f"{name}.requests.{resource}",
                    f"at most its limit {limits[resource]}",
                    str(requests[resource]),
                    "Raise the limit or lower the request.",
                )
            )
    return problems


def _images(settings: dict[str, Any]) -> list[Problem]:
    allow_latest = is_true(settings.get("chroma_allow_latest"))
    problems = []
    for name in ("chroma_image", "chroma_gateway_image", "chroma_operations_image"):
        value = settings.get(name)
        if _is_empty(value):
            continue
        image = parse_image(value)
        if image is None:
            problems.append(Problem(name, "an image reference registry/path:tag or registry/path@sha256:…", repr(value)))
        elif not image.digest and image.tag in ("", "latest") and not allow_latest:
            problems.append(
                Problem(
                    name,
                    "a tag with a version, or a digest",
                    repr(value),
                    "What `latest` means changes without notice; chroma_allow_latest: true permits it all the same.",
                )
            )
        elif name == "chroma_image":
            problems += _tag_against_version(image, settings.get("chroma_version"))
    return problems


def _tag_against_version(image: Image, version: Any) -> list[Problem]:
    tagged, declared = parse_version(image.tag), parse_version(version)
    if not tagged or not declared or tagged == declared:
        return []
    release = ".".join(map(str, tagged))
    return [
        Problem(
            "chroma_version",
            f"{release}, as the tag of chroma_image says",
            repr(version),
            f"Set chroma_version: {release}, which also chooses that image; releases are started in different ways.",
        )
    ]


def _copy_of_itself(settings: dict[str, Any]) -> list[Problem]:
    source = (settings.get("chroma_tls_source_namespace"), settings.get("chroma_tls_source_secret"))
    if not all(source) or source != (settings.get("chroma_namespace"), settings.get("chroma_tls_secret")):
        return []
    hint = "A removal would delete the certificate itself: give the copy another name."
    return [Problem("chroma_tls_secret", "another Secret than the one that is copied", repr(source[1]), hint)]
