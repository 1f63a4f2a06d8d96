# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of which one is judged by another: resources, images, and the copy of a certificate. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.kinds import quantity
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.problem import Problem
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import (
    Image,
    is_empty,
    is_true,
    parse_image,
    parse_quantity,
    parse_version,
)


def check_combined(settings: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with resources and images, and with settings that do not go together."""
    problems = []
    for name in ("chroma_resources", "chroma_gateway_resources", "chroma_operations_resources"):
        problems += _resources(settings, name)
    return problems + _images(settings) + _copy_of_itself(settings)


def _resources(settings: dict[str, Any], name: str) -> list[Problem]:
    value = settings.get(name)
    if is_empty(value):
        return []
    if not isinstance(value, dict) or not all(isinstance(value.get(part, {}), dict) for part in ("requests", "limits")):
        return [Problem(name, "{requests: {…}, limits: {…}}", repr(value))]
    requests, limits = value.get("requests", {}), value.get("limits", {})
    problems = []
    for part, quantities in (("requests", requests), ("limits", limits)):
        for resource, amount in quantities.items():
            problems += quantity(f"{name}.{part}.{resource}", amount)
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
        if is_empty(value):
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
