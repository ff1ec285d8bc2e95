"""`depthwise run`: a network's file computed for arrays in files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from numpy.lib.format import write_array

from depthwise import console
from depthwise.commands.streamed import Streamed
from depthwise.errors import ArrayError, DepthwiseError
from depthwise.files import check_writable, written
from depthwise.loading import load
from depthwise.measure.timing import Summary, sample
from depthwise.network.array_files import ONE, SEVERAL, array_in, arrays_in, read_file
from depthwise.network.network import Network
from depthwise.network.steps import Port
from depthwise.problem.arrays import Array

REPEATS = 20
"""Samples of the time of a call."""
MOST_SECONDS = 5.0
"""How long samples are taken at most."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise run` was asked for."""

    model: Path
    inputs: Sequence[str]
    """"x.npy", "name=x.npy", or "several.npz", whose arrays are named."""
    output: Path
    threads: int | None
    trust: bool
    as_json: bool
    chunk: int | None = None
    """How many elements along the axis a chunk has that is streamed; None computes all at once."""
    axis: int = -1


def run(options: Options) -> None:
    """Compute a network, write its outputs, and say what they are.

    Raises:
        ModelError: there is no such model.
        ArrayError: there are no such arrays, or they are not the network's.
        DepthwiseError: the file of the outputs cannot be written.
    """
    check_writable(options.output)
    begun = time.perf_counter()
    net = _network(options)
    given = _given(options.inputs, net)
    if len(net.outputs) > 1 and options.output.suffix != SEVERAL:
        names = ", ".join(port.name for port in net.outputs)
        raise DepthwiseError(
            f"several outputs, here {names}, go to a file {SEVERAL}; got {options.output}"
        )
    with console.progress(None) as step:
        net.prepare(*given, step=step)
    ready = time.perf_counter() - begun
    results = net(*given)
    outputs = results if isinstance(results, tuple) else (results,)
    _write(options.output, {p.name: y for p, y in zip(net.outputs, outputs, strict=True)})
    if options.as_json:
        samples = sample(lambda: net(*given), REPEATS, most_seconds=MOST_SECONDS)
        _print(options, net, given, outputs, ready, Summary.of(samples))
    else:
        for port, array in zip(net.outputs, outputs, strict=True):
            console.say(f"{options.output}: {port.name} {array.dtype} {array.shape}")


def _network(options: Options) -> Network | Streamed:
    """Return what is called: a network, or one that is streamed, as one with variables always is.

    Raises:
        ModelError: there is no such model, or it has no states.
        ArrayError: chunks have no elements.
    """
    if options.chunk is not None and options.chunk < 1:
        raise ArrayError(f"a chunk has 1 element or more (--chunk); got {options.chunk}")
    net: Network = read_file(
        options.model, lambda: load(options.model, threads=options.threads, trust=options.trust)
    )
    if options.chunk is None and not net.program.states:
        return net
    return Streamed(net, options.chunk, options.axis)


def _given(words: Sequence[str], net: Network | Streamed) -> list[Array]:
    """Return the arrays of the inputs in their order.

    Raises:
        ArrayError: there are others, or some are missing.
    """
    names = [port.name for port in net.inputs]
    found: dict[str, Array] = {}
    for word in words:
        name, _, path = word.partition("=")
        if name in names and path:
            arrays = {name: array_in(Path(path))}
        elif Path(word).suffix == SEVERAL:
            arrays = arrays_in(Path(word))
        else:
            free = [name for name in names if name not in found]
            arrays = {free[0] if free else word: array_in(Path(word))}
        found |= arrays
    if set(found) != set(names) or len(found) < len(words):
        raise ArrayError(
            f"the inputs of the network are {', '.join(names) or 'none'}, each once "
            f"(--input {names[0] if names else 'x'}=FILE); got {', '.join(words) or 'none'}"
        )
    return [found[name] for name in names]


def _write(path: Path, outputs: Mapping[str, Array]) -> None:
    with written(path) as content:
        if path.suffix != SEVERAL:
            (array,) = outputs.values()
            write_array(content, _plain(array), allow_pickle=False)
            return
        with ZipFile(content, "w") as whole:
            for name, array in outputs.items():
                with whole.open(f"{name}{ONE}", "w") as part:
                    write_array(part, _plain(array), allow_pickle=False)


def _plain(array: Array) -> Array:
    """Return text as NumPy writes it without pickle."""
    return array.astype(str) if array.dtype == object else array


def _print(
    options: Options, net: Network | Streamed, given: Sequence[Array], outputs: Sequence[Array],
    ready: float, times: Summary,
) -> None:  # fmt: skip
    """Print what was computed and how long a call takes, as JSON."""
    console.print_json(
        {
            "model": str(options.model),
            "output": str(options.output),
            "inputs": [_about(*each) for each in zip(net.inputs, given, strict=True)],
            "outputs": [_about(*each) for each in zip(net.outputs, outputs, strict=True)],
            "ready_s": ready,
            "call_us": {"median": times.median, "min": times.min, "mad": times.mad},
        }
    )


def _about(port: Port, array: Array) -> dict[str, Any]:
    return {"name": port.name, "shape": list(array.shape), "dtype": array.dtype.name}
