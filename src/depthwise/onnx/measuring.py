"""A network beside ONNX Runtime on the very same file: whether they agree, and which is faster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from depthwise.errors import ModelError
from depthwise.machine import team
from depthwise.measure.timing import Summary, interleave
from depthwise.measure.worker import differences
from depthwise.network.agreement import tolerance
from depthwise.network.network import Network
from depthwise.network.report import Measured, Report, conditions, parts_of
from depthwise.network.steps import Call, Port, Program, Stage
from depthwise.onnx.runtime import session_of
from depthwise.problem.arrays import Array

_REPEATS = 11
_OURS, _THEIRS = "ours", "theirs"
_WHOLE = 2
"""One more than the largest of random whole numbers, which are indices as a rule."""


def measured(net: Network, source: str | os.PathLike[str] | bytes) -> Report:
    """Return the report of a network with its times, held against ONNX Runtime.

    Both run on as many threads, in turns; between two calls the threads of neither spin.

    Args:
        net: what `load` made of the file.
        source: the file.

    Raises:
        ModelError: they do not agree, or an input's shape is not known.
    """
    threads = team.size()
    inputs = [_random(port, net.program.shapes.get(n)) for n, port in enumerate(net.inputs)]
    session = _session(source, threads)
    given = {port.name: array for port, array in zip(net.inputs, inputs, strict=True)}
    most = tolerance(_depth(net.program), float(np.finfo(np.float32).eps))
    results = net(*inputs)
    found = results if isinstance(results, tuple) else (results,)
    largest = _largest_difference(found, session.run(None, given))
    if not largest <= most:
        raise ModelError(
            "the network computes what ONNX Runtime does, but for rounding (difference relative "
            f"to the largest output at most {most:.1e}); got {largest:.1e}"
        )
    samples = interleave(
        {_OURS: lambda: net(*inputs), _THEIRS: lambda: session.run(None, given)}, _REPEATS
    )
    execution = net.execution(inputs)
    return Report(
        parts=tuple(parts_of(net.program, execution.kernels(), execution.times(inputs, _REPEATS))),
        measured=Measured(
            total_us=Summary.of(samples[_OURS]).median,
            reference="ONNX Runtime",
            reference_us=Summary.of(samples[_THEIRS]).median,
            largest_difference=largest,
            tolerance=most,
            conditions=conditions(
                threads, [each.shape for each in inputs], [each.dtype.name for each in inputs]
            ),
        ),
    )


def _session(source: Any, threads: int) -> Any:
    """Return a session of a whole file."""
    model = source if isinstance(source, bytes) else os.fspath(source)
    try:
        return session_of(model, threads, ("session.force_spinning_stop", "1"))
    except Exception as error:  # its errors have no base of their own
        raise ModelError(f"ONNX Runtime takes the file; it says: {error}") from None


def _random(port: Port, shape: tuple[int, ...] | None) -> Array:
    if shape is None or port.dtype is None:
        raise ModelError(f"the shape of each input is known; got none for {port.name!r}")
    generator = np.random.default_rng(0)
    if np.dtype(port.dtype).kind == "f":
        return generator.standard_normal(shape).astype(port.dtype)
    return generator.integers(0, _WHOLE, shape).astype(port.dtype)


def _depth(program: Program) -> int:
    """Return how many convolutions, products and other computations follow one another at most."""
    works = [step.work for step in program.steps]
    return sum(
        len(work.spec.parts) or 1 if isinstance(work, Stage) else isinstance(work, Call)
        for work in works
    )


def _largest_difference(results: Sequence[Array], expected: Sequence[Array]) -> float:
    """Return the largest difference relative to the largest element of an output.

    (Whole numbers are indices of what is nearly equal as a rule: they are not held against.)
    """
    held = [
        (result, each)
        for result, each in zip(results, expected, strict=True)
        if each.dtype.kind == "f" or result.shape != each.shape
    ]
    return differences(*zip(*held, strict=True))[1] if held else 0.0
