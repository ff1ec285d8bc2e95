"""Code to take along: a program as C99, or as an object with a name of its own."""

from __future__ import annotations

import hashlib

from depthwise.errors import TargetError
from depthwise.machine.emitted import NAME, Emitted, Form
from depthwise.programs import c99
from depthwise.programs.build import Program, build_to_take_along

_HEX_DIGITS = 16


def symbol(*parts: object) -> str:
    """Return the name of the function in the object of what parts tell from all others."""
    digest = hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()
    return f"depthwise_{digest[:_HEX_DIGITS]}"


def emitted(program: Program, form: Form, name: str) -> Emitted:
    """Return the code of a program.

    Args:
        program: what is emitted.
        form: as what.
        name: of the function of an object.

    Raises:
        TargetError: the target has no machine code.
    """
    if form == "c":
        source = c99.c_source(program, NAME)
        return Emitted(
            source.tasks, source.scratch_bytes, source.text, source.helpers, source.headers
        )
    if not program.target.triple:
        raise TargetError(f"{program.target.name} is any machine, which has no code but C: use c")
    built = build_to_take_along(program.functions, program.target, name)
    return Emitted(built.tasks, built.scratch_bytes, object=built.object, symbol=name)
