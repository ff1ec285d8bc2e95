"""Compile `src/depthwise/machine/_team.c`, the launcher of kernels, while the package is built.

Without a C compiler, Python's headers or OpenMP the package still works, on one thread.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-O3", "-std=c11", "-Wall", "-Wextra", "-fPIC", "-shared"]


class TeamBuildHook(BuildHookInterface):  # type: ignore[misc]
    """Puts the extension module beside its source, and into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile with OpenMP, else without, else leave the module out; say which."""
        folder = Path(self.root, "src", "depthwise", "machine")
        module = folder / f"_team{sysconfig.get_config_var('EXT_SUFFIX')}"
        for flags, lost in ((["-fopenmp"], ""), ([], "OpenMP was not found")):
            if error := self._compile(folder / "_team.c", module, flags):
                continue
            if lost:
                self.app.display_warning(f"{lost}: kernels will run on one thread")
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            return
        self.app.display_warning(
            "_team.c was not compiled, so kernels will run on one thread; a C compiler and "
            f"Python's headers are needed:\n{error}"
        )

    def _compile(self, source: Path, module: Path, flags: list[str]) -> str:
        """Return why it failed, or nothing."""
        compiler = shlex.split(os.environ.get("CC", "cc"))
        include = f"-I{sysconfig.get_paths()['include']}"
        built = module.with_suffix(f".{os.getpid()}.tmp")
        command = [*compiler, *FLAGS, *flags, include, str(source), "-o", str(built)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        if done.returncode:
            built.unlink(missing_ok=True)
            return done.stderr
        built.replace(module)
        return ""
