# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks of the settings: what is absent, misspelt, not of its kind, or does not go together. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.combined import check_combined
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.problem import Problem
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.rules import OPTIONAL_RULES, RULES
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import is_empty

PLATFORM_VARIABLES = {
    "domain_name": "the platform's domain, for example example.com",
    "admin_username": "the platform's administrator, for example tkadmin",
    "primary_ingress_class": "the ingress class, for example nginx",
    "kubeconfig": "the kubeconfig on the control plane host",
    "harbor_registry": "the registry with the images, for example registry.example.com",
}

PREFIX = "chroma_"
# The longest that the gateway's map of tokens takes.
LONGEST_TOKEN = 1024
_TOKEN = re.compile(r"[!#-&(-\[\]-_a-~]+\Z")


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
    incomplete = any(is_empty(settings.get(name)) for name in PLATFORM_VARIABLES)
    for name, rule in RULES.items():
        value = settings.get(name)
        if not is_empty(value):
            problems += rule(name, value)
        elif not incomplete:
            problems.append(Problem(name, "a value", "nothing", f"Set {name}, or leave it out for its default."))
    for name, rule in OPTIONAL_RULES.items():
        if not is_empty(settings.get(name)):
            problems += rule(name, settings[name])
    problems += check_combined(settings)
    return problems


def _missing(settings: dict[str, Any], admin_password: str) -> list[Problem]:
    problems = [
        Problem(name, meaning, "nothing", f"Define {name} in the inventory.")
        for name, meaning in PLATFORM_VARIABLES.items()
        if is_empty(settings.get(name))
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
