"""How long a chunk takes that a network is streamed with: ours and ONNX Runtime, in turns.

    python benchmarks/streams.py

The network has six layers of 64 channels, each of a state of 3 elements before a depthwise
convolution with 4 taps, SiLU, a pointwise convolution and a sum.  Prints the microseconds of a
chunk, the least and the median of some rounds, on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

import depthwise as dw
from depthwise.console import print_table

CHANNELS, LAYERS, TAPS = 64, 6, 4
LENGTHS = (1, 16, 160, 1024)
ROUNDS, CALLS = 15, 100


def network(length: int | str) -> ModelProto:
    """Return the network, for chunks of a length."""
    rng = np.random.default_rng(0)
    nodes, names, x = [], [], "x"
    arrays = {"start": np.int64([1 - TAPS]), "end": np.int64([2**62]), "axis": np.int64([2])}
    for n in range(LAYERS):
        arrays[f"w{n}"] = rng.standard_normal((CHANNELS, 1, TAPS), np.float32)
        arrays[f"b{n}"] = rng.standard_normal(CHANNELS, np.float32)
        arrays[f"v{n}"] = rng.standard_normal((CHANNELS, CHANNELS, 1), np.float32) / 8
        names.append((f"s{n}_in", f"s{n}_out"))
        nodes += [
            helper.make_node("Concat", [f"s{n}_in", x], [f"p{n}"], axis=2),
            helper.make_node("Conv", [f"p{n}", f"w{n}", f"b{n}"], [f"c{n}"], group=CHANNELS),
            helper.make_node("Sigmoid", [f"c{n}"], [f"g{n}"]),
            helper.make_node("Mul", [f"c{n}", f"g{n}"], [f"a{n}"]),
            helper.make_node("Conv", [f"a{n}", f"v{n}"], [f"u{n}"]),
            helper.make_node("Add", [f"u{n}", x], [f"y{n}"]),
            helper.make_node("Slice", [f"p{n}", "start", "end", "axis"], [f"s{n}_out"]),
        ]
        x = f"y{n}"
    ports = [_port("x", length), *(_port(taken, TAPS - 1) for taken, _ in names)]
    outputs = [_port(x, None), *(_port(made, None) for _, made in names)]
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "streamed", ports, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _port(name: str, length: int | str | None) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, CHANNELS, length))


def by_runtime(model: ModelProto, chunk: Any) -> Callable[[], object]:
    """Return what computes a chunk with ONNX Runtime and hands on the states."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_inputs()][1:]
    states = dict.fromkeys(names, np.zeros((1, CHANNELS, TAPS - 1), np.float32))

    def call() -> object:
        result, *made = session.run(None, {"x": chunk, **states})
        states.update(zip(names, made, strict=True))
        return result

    return call


def ours(model: ModelProto, chunk: Any) -> Callable[[], object]:
    """Return what computes a chunk with a stream of this package."""
    stream = dw.load(model, threads=1).stream()
    return lambda: stream(chunk)


def microseconds(call: Callable[[], object]) -> float:
    """Return the mean time of some calls."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - begin) / CALLS * 1e6


def main() -> None:
    """Measure, and print a table."""
    rows = []
    for length in LENGTHS:
        chunk = np.random.default_rng(1).standard_normal((1, CHANNELS, length), np.float32)
        ways = [
            ours(network("length"), chunk), ours(network(length), chunk),
            by_runtime(network("length"), chunk),
        ]  # fmt: skip
        first, *others = (np.asarray(way()) for way in ways)
        for other in others:
            np.testing.assert_allclose(first, other, rtol=1e-3, atol=1e-4)
        times = np.array([[microseconds(way) for way in ways] for _ in range(ROUNDS)])
        both = zip(times.min(axis=0), np.median(times, axis=0), strict=True)
        rows.append((length, *(f"{least:.0f} ({median:.0f})" for least, median in both)))
    print_table(("length", "stream, open", "stream, fixed", "ONNX Runtime, open"), rows)


if __name__ == "__main__":
    main()
