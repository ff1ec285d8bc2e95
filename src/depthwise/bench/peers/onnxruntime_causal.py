"""Causal convolutions in ONNX Runtime: its own operator with a state, and those around it in files.

The kernel clock is that of a chain of `COPIES` of the problem less that of one, as in `copies`;
nothing is pooled, because nothing is reordered.  Calls read one array of states and write another,
in turn, as streams are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper

from depthwise.bench.peers.copies import COPIES
from depthwise.bench.peers.onnxruntime_graph import IR_VERSION, OPSET, Graph
from depthwise.measure import streams
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.causal import CausalSpec

OPERATOR, CONV = "operator", "conv"
VARIANTS = (OPERATOR, CONV)
"""`CausalConvWithState`, and Concat, Conv and Slice, which it stands for."""
_DOMAIN = "com.microsoft"
_WITHIN = (None, "silu")
"""The activations that are part of the operator."""
_TURN = [0, 2, 1]


def rejects(spec: CausalSpec, variant: str) -> str | None:
    """Say why a variant does not compute a problem."""
    if variant == OPERATOR and spec.state not in (0, spec.before):
        return f"the operator's state is d * (k - 1) = {spec.before} long, not {spec.state}"
    return None


def prepare(
    spec: CausalSpec, variant: str, clock: Clock, arrays: tuple[Array, ...], options: Any
) -> Prepared:
    """Make the graph that people call ready, and for the kernel clock a chain of several.

    Args:
        spec: the problem.
        variant: one of `VARIANTS`.
        clock: the kernel clock has arrays (N, C, L).
        arrays: the problem's.
        options: of the sessions.
    """
    turned = spec.channels_last
    given, y = list(arrays[:-1]), arrays[-1]
    if turned and clock == "kernel":
        for place in (0, *([-1] if spec.state else [])):
            given[place] = np.ascontiguousarray(given[place].swapaxes(1, 2))
        y = np.empty(given[0].shape, y.dtype)
    last = turned and clock == "call"
    once = Chain(spec, variant, given, y, 1, options, channels_last=last)

    def output() -> Array:
        once.restart()
        once.run()
        results = (y, *once.states())
        if turned and not last:
            results = tuple(each.swapaxes(1, 2) for each in results)
        return streams.together(*results) if spec.state else results[0]

    layout = "NLC" if last and variant == OPERATOR else "NCL"
    excluded = "weight packing"
    if clock == "call":
        return Prepared(once.run, output, layout, excluded)
    many = Chain(spec, variant, given, np.empty_like(y), COPIES, options, channels_last=False)
    excluded += ", the call's own overhead"
    return Prepared(many.run, output, layout, excluded, once.run, COPIES - 1)


class Chain:
    """A session of so many copies of a problem, each of which takes what the one before gives."""

    def __init__(
        self, spec: CausalSpec, variant: str, given: Sequence[Array], y: Array, count: int,
        options: Any, *, channels_last: bool,
    ) -> None:  # fmt: skip
        self._given = given[-1] if spec.state else None
        self._sets: list[dict[str, Array]] = [
            {name: given[-1].copy() for name in _numbered("state", count)} if spec.state else {}
            for _ in range(2)
        ]
        model = _model(spec, variant, given, count, channels_last=channels_last)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        before, after = self._sets
        self._turn = 0
        self._calls = [
            _bound(session, {"x": given[0], **reads}, {"y": y, **_as_left(writes)})
            for reads, writes in ((before, after), (after, before))
        ]

    def run(self) -> None:
        """Compute one call, from the states that the last one left."""
        self._calls[self._turn]()
        self._turn = 1 - self._turn if self._given is not None else 0

    def restart(self) -> None:
        """Have the next call begin with the state given."""
        for state in self._sets[self._turn].values():
            state[...] = self._given

    def states(self) -> list[Array]:
        """Return those that the last call left."""
        return [*self._sets[self._turn].values()]


def _numbered(name: str, count: int) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def _as_left(states: Mapping[str, Array]) -> dict[str, Array]:
    return {f"left_{name}": state for name, state in states.items()}


def _bound(
    session: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Callable[[], None]:
    binding = session.io_binding()
    for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
        for name, array in arrays.items():
            bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(keep: object = (inputs, outputs)) -> None:  # noqa: ARG001
        session.run_with_iobinding(binding)

    return run


def _model(
    spec: CausalSpec, variant: str, given: Sequence[Array], count: int, *, channels_last: bool
) -> bytes:
    """Return the chain as a serialized model, from x and the states to y and those left."""
    graph = Graph(spec.dtype)
    value, ends = "x", []
    for state in _numbered("state", count):
        past = state if spec.state else ""
        add = _operator if variant == OPERATOR else _conv
        value = add(graph, spec, given, value, past, channels_last)
        ends += [state] * bool(spec.state)
    next(node for node in graph.nodes if node.output[0] == value).output[0] = "y"
    kind = helper.np_dtype_to_tensor_dtype(graph.dtype)
    sequences, states = given[0].shape, given[-1].shape
    inputs = {"x": sequences, **dict.fromkeys(ends, states)}
    outputs = {"y": sequences, **dict.fromkeys([f"left_{end}" for end in ends], states)}
    infos = [
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in each.items()]
        for each in (inputs, outputs)
    ]
    constants = [tensor for tensor, _ in graph.constants.values()]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_DOMAIN, 1)]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "problem", *infos, constants),
        opset_imports=opsets, ir_version=IR_VERSION,
    )  # fmt: skip
    return bytes(made.SerializeToString())


def _weights(graph: Graph, spec: CausalSpec, given: Sequence[Array]) -> list[str]:
    return [graph.constant(each) for each in given[1 : 2 + spec.bias]]


def _operator(
    graph: Graph, spec: CausalSpec, given: Sequence[Array], x: str, past: str, last: bool
) -> str:
    weights = _weights(graph, spec, given)
    weights += [""] * (2 - len(weights))
    within = spec.activation in _WITHIN
    value = graph.add(
        "CausalConvWithState", x, *weights, past, domain=_DOMAIN, dilation=spec.dilation,
        channels_last=int(last), activation=(spec.activation or "none") if within else "none",
    )  # fmt: skip
    graph.nodes[-1].output.append(f"left_{past}" if past else f"{value}_left")
    if within or spec.activation is None:
        return value
    return graph.activate(spec.activation, value)


def _conv(
    graph: Graph, spec: CausalSpec, given: Sequence[Array], x: str, past: str, last: bool
) -> str:
    axis = 1 if last else 2
    if past:
        x = graph.add("Concat", past, x, axis=axis)
        _sliced(graph, x, -spec.state, axis, f"left_{past}")
        if spec.state > spec.before:
            x = _sliced(graph, x, -(spec.before + spec.length), axis)
    x = graph.add("Transpose", x, perm=_TURN) if last else x
    y = graph.add(
        "Conv", x, *_weights(graph, spec, given), group=spec.channels,
        kernel_shape=[spec.kernel], dilations=[spec.dilation], pads=[0 if past else spec.before, 0],
    )  # fmt: skip
    y = graph.activate(spec.activation, y) if spec.activation else y
    return graph.add("Transpose", y, perm=_TURN) if last else y


def _sliced(graph: Graph, value: str, start: int, axis: int, name: str = "") -> str:
    """Add the last elements along an axis, as an output of that name where there is one."""
    ends = (np.array([each], np.int64) for each in (start, np.iinfo(np.int64).max, axis))
    made = graph.add("Slice", value, *map(graph.constant, ends))
    if name:
        graph.nodes[-1].output[0] = name
    return name or made
