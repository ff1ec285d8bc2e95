"""Exports built by a compiler of C, and run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

STRICT = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
SANITIZED = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PATIENCE_SECONDS = 300


def name_of(folder: Path) -> str:
    """Return what the function of an export is called."""
    (test,) = folder.glob("*_test.c")
    return test.name.removesuffix("_test.c")


def sources(folder: Path) -> list[str]:
    """Return the files of an export that are compiled and linked."""
    return [str(each) for each in sorted([*folder.glob("*.c"), *folder.glob("objects/*.o")])]


def built(folder: Path, *flags: str, compiler: Sequence[str] = ("gcc",)) -> Path:
    """Return the program of the test of an export."""
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs {compiler[0]}")
    program = folder / "program"
    line = [*compiler, *STRICT, *flags, *sources(folder), "-lm", "-o", str(program)]
    made = subprocess.run(
        line, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return program


def run(program: Path, *before: str) -> str:
    """Return what the test of an export prints; it must succeed."""
    done = subprocess.run(
        [*before, str(program)], capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    return done.stdout


def assert_right(folder: Path, *flags: str, compiler: Sequence[str] = ("gcc",)) -> None:
    """Hold what an export computes against the oracle, as its own test does."""
    assert run(built(folder, *flags, compiler=compiler)) == f"{name_of(folder)}: all right\n"
