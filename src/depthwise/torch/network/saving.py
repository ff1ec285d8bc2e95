"""An optimized network as what a file of it has: without Python, and so for anybody to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from depthwise.errors import ModelError
from depthwise.network.steps import Call, Program
from depthwise.problem.dtypes import DTYPES
from depthwise.torch.network.calls import Ref, read
from depthwise.torch.network.functions import is_pure
from depthwise.torch.network.network import Network

_REMEDY = "torch.save(network, file) keeps any, as a pickle"
_OF_NONE = "!= 0"
"""How a guard against a batch of no images ends."""


def program_of(network: Network, guards: Sequence[str]) -> Program:
    """Return the program of a network, for a file.

    Args:
        network: any.
        guards: what its model asked of sizes, see `Trace`.  A file cannot ask: where there are
            any, but that there is an image, it takes the sizes of the example alone.

    Raises:
        ModelError: it takes or returns something else than tensors, has some of a type that NumPy
            lacks, or leaves to torch what a file may not name.
    """
    program = network.program
    _check_ends(program, network.results)
    _check_calls(program)
    _check_types(program)
    if all(guard.endswith(_OF_NONE) for guard in guards):
        return program
    inputs = zip(program.inputs, map(program.shapes.get, range(len(program.inputs))), strict=True)
    return replace(program, inputs=tuple(replace(port, sizes=shape) for port, shape in inputs))


def _check_ends(program: Program, results: Sequence[object]) -> None:
    others = [f"input {port.name}" for port in program.inputs if port.dtype is None]
    others += [f"result {each!r}" for each in results if not isinstance(each, Ref)]
    if others:
        raise ModelError(
            "a network in a file takes and returns tensors alone (optimize a module that calls "
            f"the model with the rest; {_REMEDY}); got {', '.join(others)}"
        )


def _check_calls(program: Program) -> None:
    calls = [step.work for step in program.steps if isinstance(step.work, Call)]
    functions = {each.title: read(each.payload).function for each in calls}
    others = [title for title, name in functions.items() if not is_pure(name)]
    if others:
        raise ModelError(
            "a network in a file leaves operators to torch that compute and do nothing else "
            f"({_REMEDY}); got {', '.join(others)}"
        )


def _check_types(program: Program) -> None:
    others = [name for name in dict.fromkeys(program.dtypes.values()) if not _is_numpys(name)]
    if others:
        raise ModelError(
            f"a network in a file computes with types that NumPy has ({_REMEDY}); got "
            f"{', '.join(others)}"
        )


def _is_numpys(dtype: str) -> bool:
    """Whether a type is NumPy's own, or one that kernels compute."""
    try:
        return dtype in DTYPES or np.dtype(dtype).isbuiltin == 1
    except TypeError:
        return False
