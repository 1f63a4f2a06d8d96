# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a release can take the place of what is there already. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.thinkube.chroma.plugins.module_utils._kube import MANAGED_BY, OWNER, VERSION, Object, is_ours
from ansible_collections.thinkube.chroma.plugins.module_utils._preflight.values import is_true, parse_image, parse_quantity, parse_version

# The setting with its name: the kind of each object that an installation writes.
OBJECTS = {
    "chroma_statefulset": "StatefulSet",
    "chroma_pvc": "PersistentVolumeClaim",
    "chroma_auth_secret": "Secret",
    "chroma_tls_secret": "Secret",
    "chroma_service": "Service",
    "chroma_headless_service": "Service",
    "chroma_gateway_config": "ConfigMap",
    "chroma_discovery_config": "ConfigMap",
    "chroma_network_policy": "NetworkPolicy",
    "chroma_disruption_budget": "PodDisruptionBudget",
}
EXPOSURES = {"ingress": ("chroma_ingress", "Ingress"), "gateway": ("chroma_route", "HTTPRoute")}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        ok: False stops the installation.
        expected: what it must be.
        seen: what it is.
        hint: what to do where it is not ok.
        warning: True where it could not be verified, and may be wrong.
    """

    name: str
    ok: bool
    expected: str
    seen: str
    hint: str = ""
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, seen {self.seen}.{' ' + self.hint if self.hint else ''}"

    def as_result(self) -> dict[str, Any]:
        """Return the check as plain values."""
        return asdict(self)


def unverified(name: str, expected: str, seen: str) -> Check:
    """Return the check of something that nobody could look at."""
    return Check(name, True, expected, f"not verifiable ({seen})", warning=True)


def check_owner(found: Iterable[Object], settings: dict[str, Any]) -> Check:
    """Refuse to overwrite objects of others that have the names of ours, unless ``chroma_adopt`` takes them over."""
    foreign = ", ".join(f"{item['kind']} {item['metadata']['name']}" for item in found if not is_ours(item))
    adopted = is_true(settings.get("chroma_adopt"))
    expected = f"absent, or with label {MANAGED_BY}={OWNER}"
    title = f"objects in namespace {settings['chroma_namespace']}"
    if not foreign:
        return Check(title, True, expected, "nothing of others")
    seen = f"made by others: {foreign}"
    hint = "Choose another chroma_namespace, or read docs/install.md on chroma_adopt, which takes them over."
    return Check(title, adopted, expected, seen, "" if adopted else hint)


def check_claim(claim: Object | None, storage_class: Object | None, settings: dict[str, Any]) -> Check:
    """Compare an existing claim with the wanted one: Kubernetes never changes its class or shrinks it, and grows it only in some classes.

    Args:
        claim: the claim; None where absent.
        storage_class: the wanted class; None where it could not be read.
        settings: ``chroma_pvc``, ``chroma_capacity``, ``chroma_storage_class``.
    """
    title = f"PersistentVolumeClaim {settings['chroma_pvc']}"
    wanted, wanted_class = settings["chroma_capacity"], settings["chroma_storage_class"]
    expected = f"absent, or of class {wanted_class} and at most {wanted}"
    if claim is None:
        return Check(title, True, expected, "absent")
    current, current_class = claim["spec"]["resources"]["requests"]["storage"], claim["spec"].get("storageClassName", wanted_class)
    seen = f"{current} of class {current_class}"
    if current_class != wanted_class:
        return Check(title, False, expected, seen, f"A claim's class can't change: set chroma_storage_class: {current_class}.")
    modes = claim["spec"].get("accessModes", ["ReadWriteOnce"])
    if modes != ["ReadWriteOnce"]:
        hint = "Its access modes can't change: name another chroma_pvc, and copy the data into it."
        return Check(title, False, "ReadWriteOnce", ", ".join(modes), hint)
    have, want = parse_quantity(current), parse_quantity(wanted)
    if have is None or want is None or have == want:
        return Check(title, True, expected, seen)
    if have > want:
        return Check(title, False, expected, seen, f"A volume can't shrink: set chroma_capacity: {current} or more.")
    if storage_class is None:
        return unverified(title, f"of a class whose volumes grow to {wanted}", f"no right to read StorageClass {wanted_class}")
    if storage_class.get("allowVolumeExpansion"):
        return Check(title, True, expected, seen)
    hint = f"Volumes of this class can't grow (allowVolumeExpansion): set chroma_capacity: {current}, or copy the data to a larger claim."
    return Check(title, False, f"{wanted}, as it can't be changed", seen, hint)


def check_statefulset(statefulset: Object | None, settings: dict[str, Any]) -> Check:
    """Compare what Kubernetes never changes of an existing StatefulSet."""
    name, namespace = settings["chroma_statefulset"], settings["chroma_namespace"]
    title, expected = f"StatefulSet {name}", "absent, or one that can be updated"
    if statefulset is None:
        return Check(title, True, expected, "absent")
    spec = statefulset["spec"]
    differing = [
        field
        for field, same in {
            "serviceName": spec.get("serviceName") == settings["chroma_headless_service"],
            "selector": spec.get("selector") == {"matchLabels": {"app": "chroma"}},
            "podManagementPolicy": spec.get("podManagementPolicy", "OrderedReady") == "Parallel",
            "volumeClaimTemplates": not spec.get("volumeClaimTemplates"),
        }.items()
        if not same
    ]
    if not differing:
        return Check(title, True, expected, "present")
    hint = f"Kubernetes never changes these. Delete it, its volume stays: kubectl delete statefulset {name} -n {namespace}."
    return Check(title, False, expected, f"another {', '.join(differing)}", hint)


def check_data_version(claim: Object | None, statefulset: Object | None, settings: dict[str, Any]) -> Check:
    """Refuse a server older than the one that had the data last: it answers 500 to everything, or panics.

    The claim says the version in its annotation, which outlives a removal that keeps the data; the server's image does in its tag.
    """
    wanted = parse_version(settings["chroma_version"])
    containers = statefulset["spec"]["template"]["spec"]["containers"] if statefulset else []
    images = [parse_image(each["image"]) for each in containers if each["name"] == "chroma" or len(containers) == 1]
    noted = [((claim or {}).get("metadata") or {}).get("annotations", {}).get(VERSION), *(image.tag for image in images if image)]
    newest = max((version for version in map(parse_version, noted) if version), default=None)
    if newest is None:
        return Check("chroma_version", True, "not older than the data", "no data, or of an unknown version")
    expected = f"{'.'.join(map(str, newest))} or later, which had the data"
    if wanted is None or wanted >= newest:
        return Check("chroma_version", True, expected, settings["chroma_version"])
    hint = "An older server can't read these data. To go back, restore a copy from before: docs/operate.md, An older version."
    return Check("chroma_version", False, expected, settings["chroma_version"], hint)
