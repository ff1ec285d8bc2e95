"""A file of a network: what `Network.save` writes, and what `loading.load` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from depthwise.errors import ModelError
from depthwise.files import check_writable
from depthwise.files import written as put_whole
from depthwise.network.saved.container import Source, read, written
from depthwise.network.saved.description import (
    Engines,
    damage_refused,
    described,
    program_of,
)
from depthwise.network.saved.machine_code import collected, use
from depthwise.network.steps import Program
from depthwise.version import __version__

FORMAT = 1
"""The version of what is written, which changes with what the description says."""


def write(program: Program, file: Path, *, with_code: bool) -> None:
    """Write a program to a file.

    Args:
        program: the network.
        file: where to; a regular file is replaced whole.
        with_code: whether it has the machine code of the kernels for the example, too.

    Raises:
        ModelError: it has arrays of a type that has no name there, or code cannot be made.
        DepthwiseError: the file cannot be written; what was there is left.
    """
    check_writable(file)
    description, tensors = described(program)
    whole = {"format": FORMAT, "depthwise": __version__, **description}
    if with_code:
        whole["code"], objects = collected(program)
        tensors |= objects
    content = written(whole, tensors)
    with put_whole(file) as place:
        place.write(content)


def program_in(source: Source, engines: Engines, *, trust: bool) -> Program:
    """Return the program of a file; its arrays are the file's memory.

    Args:
        source: the file, or its content.
        engines: what makes each engine.
        trust: whether machine code in it may be run.

    Raises:
        ModelError: it is none of `write`, or of another version, or damaged.
        OSError: it cannot be read.
    """
    description, tensors = read(source)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelError(_other_version(description))
    with damage_refused():
        program = program_of(description, tensors, engines)
        if trust and "code" in description:
            use(description["code"], tensors)
    return program


def _other_version(description: Any) -> str:
    found = description if isinstance(description, dict) else {}
    return (
        f"a file of a network is of format {FORMAT} here, in depthwise {__version__} (save it anew "
        f"with this version); got format {found.get('format')} of depthwise "
        f"{found.get('depthwise')}"
    )
