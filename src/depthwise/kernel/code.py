"""Machine code in this process: loaded from a file, without the compiler where a linker made it."""

from __future__ import annotations

import ctypes
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.errors import CacheWarning, DepthwiseError, InternalError
from depthwise.machine import team, trust

if TYPE_CHECKING:
    from depthwise.programs.build import Built

LINKERS = ("ld.lld", "ld", "cc", "gcc", "clang")
"""The programs that make shared objects, the preferred first."""
_PATIENCE_SECONDS = 60.0
"""How long a linker may take, which takes milliseconds."""


@dataclass(frozen=True)
class Code:
    """A kernel that can run."""

    address: int
    tasks: int
    scratch_bytes: int
    """Memory that each thread works in."""
    owner: Any
    """What keeps the code in memory."""

    def run(self, threads: int, *arrays: Any) -> None:
        """Run every task; unchecked.

        Args:
            threads: how many threads to use.
            arrays: as the program declares them: C-contiguous buffers or addresses.
        """
        team.native().run(self.address, self.tasks, threads, self.scratch_bytes, *arrays)


@cache
def linker() -> str | None:
    """Return the program that links shared objects on this machine, None where there is none."""
    import shutil

    return next(filter(None, map(shutil.which, LINKERS)), None)


def suffix() -> str:
    """Return the suffix of the files that `write` makes: shared objects, or LLVM IR without."""
    return ".so" if linker() else ".ll"


def write(built: Built, path: Path) -> None:
    """Write machine code to a file that `load` takes.

    Raises:
        InternalError: the linker fails.
        OSError: there is no room for the file, say.
    """
    import subprocess

    program = linker()
    if program is None:
        built.write_llvm(path)
        return
    relocatable = path.with_suffix(".o")
    try:
        relocatable.write_bytes(built.object)
        subprocess.run(
            [program, "-shared", "-o", str(path), str(relocatable)],
            check=True, capture_output=True, text=True, timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise InternalError(f"{program} links a kernel; it says {error.stderr}") from None
    except subprocess.TimeoutExpired as error:
        raise InternalError(f"{program} links a kernel in milliseconds; {error}") from None
    finally:
        relocatable.unlink(missing_ok=True)


def loaded(built: Built) -> Code:
    """Load machine code that no disk shall remember.

    Where temporary files are not to be had, or might be others', or are not to be linked or loaded,
    LLVM generates the code once more, in memory, after a warning.
    """
    try:
        with trust.temporary_folder() as folder:
            path = folder / f"kernel{suffix()}"
            write(built, path)
            return load(path, built.tasks, built.scratch_bytes)
    except (OSError, DepthwiseError) as error:
        why = " ".join(str(error).split())
        warnings.warn(
            f"kernels are loaded without a linker: {why}; TMPDIR names another folder for "
            "temporary files",
            CacheWarning,
            stacklevel=2,
        )
    address, module = built.address()
    return Code(address, built.tasks, built.scratch_bytes, module)


def load(path: Path, tasks: int, scratch_bytes: int) -> Code:
    """Load a file of `write`, whose program has so many tasks and needs so much scratch memory."""
    if path.suffix == ".so":
        library = ctypes.CDLL(str(path))
        return Code(
            ctypes.cast(library.kernel, ctypes.c_void_p).value or 0, tasks, scratch_bytes, library
        )

    from depthwise.programs import build

    address, module = build.address_in(path)
    return Code(address, tasks, scratch_bytes, module)
