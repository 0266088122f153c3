"""Build hook: compile the dispatcher, so that who installs the package needs no compiler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileDispatcher(BuildHookInterface[Any]):
    """Puts the dispatcher's objects beside its source before the files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; called by hatchling for wheels and editable installs."""
        source = Path(self.root, "src")
        sys.path.insert(0, str(source))
        try:
            from inet_lookup.dispatch.objects import compile_all
        finally:
            sys.path.remove(str(source))
        compile_all(source / "inet_lookup" / "dispatch")
