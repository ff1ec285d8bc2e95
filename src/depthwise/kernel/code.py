"""Machine code in this process: loaded from a file, without the compiler where a linker made it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from depthwise.errors import InternalError
from depthwise.machine import team

if TYPE_CHECKING:
    from depthwise.programs.build import Built

_LINKERS = ("ld.lld", "ld", "cc", "gcc", "clang")


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
    return next(filter(None, map(shutil.which, _LINKERS)), None)


def suffix() -> str:
    """Return the suffix of the files that `write` makes: shared objects, or LLVM IR without."""
    return ".so" if linker() else ".ll"


def write(built: Built, path: Path) -> None:
    """Write machine code to a file that `load` takes.

    Raises:
        InternalError: the linker fails.
    """
    program = linker()
    if program is None:
        built.write_llvm(path)
        return
    relocatable = path.with_suffix(".o")
    built.write_object(relocatable)
    try:
        subprocess.run(
            [program, "-shared", "-o", str(path), str(relocatable)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise InternalError(f"{program} links a kernel; it says {error.stderr}") from None
    finally:
        relocatable.unlink()


def loaded(built: Built) -> Code:
    """Load machine code that no disk shall remember."""
    with TemporaryDirectory(prefix="depthwise-") as folder:
        path = Path(folder, f"kernel{suffix()}")
        write(built, path)
        return load(path, built.tasks, built.scratch_bytes)


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
