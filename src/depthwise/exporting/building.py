"""What a compiler of C makes of an export: libraries, and the bytes of code and of stack."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthwise.errors import DepthwiseError, TargetError
from depthwise.machine.target import Target
from depthwise.machine.toolchains import Toolchain, found

Library = Literal["static-library", "shared-library"]

_FLAGS = ("-std=c99", "-O2")
_PATIENCE_SECONDS = 600
_FRAME = re.compile(r":(?P<name>\w+)[\w.]*\t(?P<bytes>\d+)\t")
"""A line of what GCC and Clang say of the stack of a function."""
_WORD_BYTES = 8
"""The address that a call leaves on the stack, at most."""


@dataclass(frozen=True)
class Built:
    """What became of the sources.

    Attributes:
        library: its content; empty where none was asked for.
        code_bytes: of the function and its kernels; None where nothing tells.
        stack_bytes: what a call takes of the stack at most; None where nothing tells.
        compiler: who made it.
    """

    library: bytes = b""
    code_bytes: int | None = None
    stack_bytes: int | None = None
    compiler: str = ""


def library_name(name: str, library: Library) -> str:
    """Return the name of the file of a library."""
    return f"lib{name}.{'a' if library == 'static-library' else 'so'}"


def check(target: Target, library: Library) -> None:
    """Refuse a library that cannot be made here.

    Raises:
        TargetError: a compiler is missing, or the target's system has no shared libraries.
    """
    found(target)
    if library == "shared-library" and "linux" not in target.triple and target.name != "c":
        raise TargetError(
            f"shared libraries are of systems that load them; {target.name} has none: use "
            "static-library"
        )


def built(name: str, files: Mapping[str, bytes], target: Target, library: Library | None) -> Built:
    """Compile the files of an export, where there is a compiler for its target.

    Args:
        name: of the function.
        files: all that the function needs, by their names.
        target: what it is for.
        library: what is made of them; None: nothing, they are compiled for their sizes alone.

    Raises:
        DepthwiseError: a library was asked for, and the compiler refuses.
    """
    try:
        toolchain = found(target)
    except TargetError:
        return Built()
    with tempfile.TemporaryDirectory() as folder:
        work = _Work(Path(folder), name, files, toolchain)
        try:
            return work.built(library)
        except subprocess.CalledProcessError as error:
            if library is None:
                return Built()
            said = error.stderr.decode(errors="replace")[-500:]
            raise DepthwiseError(
                f"{toolchain.compiler[0]} compiles what is exported; it says {said}"
            ) from None


class _Work:
    def __init__(
        self, folder: Path, name: str, files: Mapping[str, bytes], toolchain: Toolchain
    ) -> None:
        self._folder, self._name, self._toolchain = folder, name, toolchain
        for file, content in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(content)
        self._sources = sorted(file for file in files if file.endswith(".c"))
        self._own = f"{name}.c"
        self._kernels = sorted(file for file in files if file.endswith(".o"))

    def built(self, library: Library | None) -> Built:
        shared = ["-fPIC"] * (library == "shared-library")
        flags = *_FLAGS, "-fstack-usage", *shared
        sources = self._sources if library else [self._own]
        objects = [f"{Path(source).stem}.o" for source in sources]
        for source, made in zip(sources, objects, strict=True):
            self._run(*self._toolchain.compiler, *flags, "-c", source, "-o", made)
        objects += self._kernels
        content = self._library(library, objects) if library else b""
        return Built(
            content, self._code_bytes(objects), self._stack_bytes(),
            " ".join(self._toolchain.compiler),
        )  # fmt: skip

    def _library(self, library: Library, objects: Sequence[str]) -> bytes:
        file = library_name(self._name, library)
        if library == "static-library":
            self._run(*self._toolchain.archiver, "rcs", file, *objects)
        else:
            self._run(*self._toolchain.compiler, "-shared", "-o", file, *objects, "-lm")
        return (self._folder / file).read_bytes()

    def _code_bytes(self, objects: Sequence[str]) -> int | None:
        """Return the bytes of instructions, without constant arrays."""
        archiver = self._toolchain.archiver
        program = f"{archiver[0].removesuffix('ar')}size"
        if len(archiver) > 1 or shutil.which(program) is None:
            return None
        code = [each for each in objects if not each.endswith("_weights.o")]
        said = self._run(program, *code).decode()
        return sum(int(line.split()[0]) for line in said.splitlines()[1:])

    def _stack_bytes(self) -> int | None:
        """Return the sum of the largest functions of each kind that call one another.

        Kernels that are objects do not say what they take.
        """
        if self._kernels:
            return None
        frames = list(self._frames())
        if not frames:
            return None
        kernels: dict[str, int] = defaultdict(int)
        most: dict[str, int] = defaultdict(int)
        for function, size in frames:
            if kernel := re.match(rf"{self._name}_k\d+", function):
                kernels[kernel[0]] += size + _WORD_BYTES
            else:
                kind = function.split("_")[0]
                most[kind] = max(most[kind], size + _WORD_BYTES)
        return sum(most.values()) + max(kernels.values(), default=0)

    def _frames(self) -> Iterator[tuple[str, int]]:
        for file in self._folder.glob("*.su"):
            for line in file.read_text().splitlines():
                if frame := _FRAME.search(line):
                    yield frame["name"], int(frame["bytes"])

    def _run(self, *words: str) -> bytes:
        done = subprocess.run(
            words, cwd=self._folder, check=True, capture_output=True, timeout=_PATIENCE_SECONDS
        )
        return done.stdout
