# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telling somebody in the course of a check. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.thinkube.chroma.plugins.module_utils._watch.alerts import Alert, Channel, channel_name, delivered


@dataclass
class Telling:
    """Tells somebody, and remembers what.

    Args:
        channels: all there are.
        silent: nobody is told, as in check mode.
        failure_known: somebody was told why the check failed.
        sent: reasons of the alerts.
        failures: why one was not delivered.
    """

    channels: Sequence[Channel]
    silent: bool
    failure_known: bool = False
    sent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def tell(self, alert: Alert, only: Sequence[str] | None = None) -> tuple[str, ...]:
        """Send an alert, and return the names of the channels that did not take it.

        Args:
            only: names of the channels to send it by; None for all.
        """
        channels = [each for each in self.channels if only is None or channel_name(each) in only]
        if self.silent or (only is not None and not channels):
            return ()
        failures = delivered(alert, channels)
        self.sent.append(alert.reason)
        self.failures += failures.values()
        return tuple(failures)
