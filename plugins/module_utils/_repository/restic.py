# Copyright: (c) 2026, The thinkube.chroma contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic with the settings of one repository. FOR INTERNAL COLLECTION USE ONLY."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from ansible_collections.thinkube.chroma.plugins.module_utils._errors import ChromaError
from ansible_collections.thinkube.chroma.plugins.module_utils._repository import process
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.faults import restic_fault
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.process import Message, Outcome, Taken
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.program import find_restic
from ansible_collections.thinkube.chroma.plugins.module_utils._repository.settings import RepositorySettings, check_settings, environment


class Restic:
    """Runs restic.

    Args:
        settings: of the repository.

    Raises:
        ChromaError: see :func:`settings.check_settings` and :func:`program.find_restic`.
    """

    def __init__(self, settings: RepositorySettings) -> None:
        check_settings(settings)
        self.settings = settings
        self._program = find_restic(settings.restic_path)

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
        on_message: Callable[[Message], None] | None = None,
    ) -> Outcome:
        """Run a command of restic to its end, however that is; see :func:`process.run`."""
        return process.run(
            self._command(*arguments),
            environment(self.settings),
            cwd=str(cwd) if cwd else None,
            patience=self.settings.patience,
            on_line=on_line,
            on_message=on_message,
        )

    def read(self, limit: int, *arguments: str) -> tuple[bytes, Outcome]:
        """Return the output of a command, at most ``limit + 1`` bytes, and how it ended."""
        return process.read(self._command(*arguments), environment(self.settings), limit, self.settings.patience)

    def stream(self, take: Callable[[IO[bytes]], Taken], *arguments: str) -> tuple[Taken, Outcome]:
        """Hand the output of a command over while it runs; see :func:`process.stream`."""
        return process.stream(self._command(*arguments), environment(self.settings), take, self.settings.patience)

    def fault(self, action: str, outcome: Outcome) -> ChromaError:
        """Return the typed error for a run that failed."""
        return restic_fault(f"{action} {self.settings.location}", outcome, self.settings)

    def _command(self, *arguments: str) -> list[str]:
        common = ["--json"]
        if self.settings.is_local:
            # The cache would be a second copy of what is on a disk already.
            common.append("--no-cache")
        else:
            # restic tries again itself, and says so; its S3 client shall not do it as well, in silence.
            common += [f"--stuck-request-timeout={self.settings.store.timeout:g}s", "-o", "s3.retries=1"]
        return [self._program, *common, *arguments]
