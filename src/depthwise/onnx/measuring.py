"""A network beside ONNX Runtime on the very same file: whether they agree, and which is faster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

from depthwise.errors import ModelError
from depthwise.measure.timing import interleave
from depthwise.measure.worker import differences
from depthwise.network import examples
from depthwise.network.agreement import check_results, granted
from depthwise.network.clock import spans, typical
from depthwise.network.network import Network
from depthwise.network.report import Measured, Report, conditions, parts_of
from depthwise.network.steps import Call, Program, Stage
from depthwise.onnx.runtime import session_of
from depthwise.problem.arrays import Array

_REPEATS = 15


def measured(net: Network, source: str | os.PathLike[str] | bytes) -> Report:
    """Return the report of a network with its times, held against ONNX Runtime.

    Both run on as many threads, in turns; between two calls the threads of neither spin.  The times
    of whole calls, and of the parts within the very same calls, are means of the fastest quarter.

    Args:
        net: what `load` made of the file.
        source: the file.

    Raises:
        ModelError: they do not agree, an input's shape is not known, or what the network takes or
            returns are no arrays of numbers.
    """
    given = _inputs(net)
    inputs = [*given.values()]
    session = _session(source, net.threads)
    expected = _results(session, given)
    moved = _results(session, examples.moved(given))
    quantized = net.program.is_quantized
    most = granted(_depth(net.program), *_real(expected, moved), quantized=quantized)
    results = net(*inputs)
    found = results if isinstance(results, tuple) else (results,)
    largest = differences(*_real(found, expected))[1]
    if not largest <= most:
        raise ModelError(
            "the network computes what ONNX Runtime does, but for rounding (difference relative "
            f"to the largest output at most {most:.1e}); got {largest:.1e}"
        )
    execution = net.execution(inputs)
    ours, theirs = _timed(lambda: execution.clocked(inputs), lambda: session.run(None, given))
    times = spans(execution.makes, ours)
    return Report(
        parts=tuple(parts_of(net.program, execution.kernels(), times)),
        dropped=net.program.dropped,
        measured=Measured(
            total_us=ours[-1],
            reference="ONNX Runtime",
            reference_us=theirs[-1],
            largest_difference=largest,
            tolerance=most,
            conditions=conditions(
                net.threads, [each.shape for each in inputs], [each.dtype.name for each in inputs]
            ),
        ),
    )


def _timed(
    ours: Callable[[], list[float]], theirs: Callable[[], object]
) -> tuple[list[float], list[float]]:
    """Return the typical moments of a call of each, taken in turns.

    Args:
        ours: returns the moments of a call.
        theirs: computes.
    """
    calls: dict[str, list[list[float]]] = {"ours": [], "theirs": []}

    def reference() -> None:
        begin = perf_counter()
        theirs()
        calls["theirs"].append([begin, perf_counter()])

    interleave({"ours": lambda: calls["ours"].append(ours()), "theirs": reference}, _REPEATS)
    return typical(calls["ours"]), typical(calls["theirs"])


def _inputs(net: Network) -> dict[str, Array]:
    """Return random inputs of the shapes that a network was prepared for."""
    shapes = {}
    for number, port in enumerate(net.inputs):
        if number not in net.program.shapes:
            raise ModelError(f"the shape of each input is known; got none for {port.name!r}")
        shapes[port.name] = net.program.shapes[number]
    return examples.drawn({port.name: port.dtype for port in net.inputs}, shapes)


def _session(source: Any, threads: int) -> Any:
    """Return a session of a whole file."""
    model = source if isinstance(source, bytes) else os.fspath(source)
    try:
        return session_of(model, threads, ("session.force_spinning_stop", "1"))
    except Exception as error:  # its errors have no base of their own
        raise ModelError(f"ONNX Runtime takes the file; it says: {error}") from None


def _results(session: Any, given: Mapping[str, Array]) -> list[Array]:
    results: list[Array] = session.run(None, given)
    names = [each.name for each in session.get_outputs()]
    check_results(dict(zip(names, results, strict=True)))
    return results


def _depth(program: Program) -> int:
    """Return how many convolutions, products and other computations follow one another at most."""
    works = [step.work for step in program.steps]
    return sum(
        len(work.spec.parts) or 1 if isinstance(work, Stage) else isinstance(work, Call)
        for work in works
    )


def _real(
    results: Sequence[Array], expected: Sequence[Array]
) -> tuple[Sequence[Array], Sequence[Array]]:
    """Return the results that are held against others, and these.

    (Whole numbers are indices of what is nearly equal as a rule: they are not, but their shape.)
    """
    held = [
        (result, each)
        for result, each in zip(results, expected, strict=True)
        if each.dtype.kind == "f" or result.shape != each.shape
    ]
    return [result for result, _ in held], [each for _, each in held]
