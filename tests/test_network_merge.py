"""Branches that are summed become one convolution, which computes what they did."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import depthwise.torch as dwt
from depthwise.loading import load
from depthwise.network.draft import POINT
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.merge import in_groups, merge
from depthwise.network.operators import (
    Activate,
    BatchNorm,
    Binary,
    Convolution,
    Foreign,
    Linear,
    Operator,
)
from onnx_models import assert_close, called, left
from optimizing import check, depthwise, images, kinds, left_to_torch, pointwise, random_


class Net:
    """A graph that is being written, with random weights."""

    def __init__(self, *shape: int, dtype: str = "float64", seed: int = 0) -> None:
        self.graph, self.dtype = Graph(), dtype
        self._rng = np.random.default_rng(seed)
        self.x = Value("x", shape, shape, dtype)
        self.graph.inputs = [self.x]

    def constant(self, *shape: int) -> Value:
        array = self._rng.standard_normal(shape).astype(self.dtype)
        return self.graph.constant(array, "constant")

    def add(self, operator: Operator, *inputs: Value) -> Value:
        number = len(self.graph.nodes)
        node = Node(operator, list(inputs), [Value(f"v{number}")], [f"n{number}"], before_us=1.0)
        self.graph.add(node)
        node.output.shape = node.output.sizes = tuple(self._computed(node).shape)
        node.output.dtype = self.dtype
        return node.output

    def _computed(self, node: Node) -> torch.Tensor:
        given = [
            torch.zeros(v.shape or ()).double() if v.constant is None else tensor(v.constant)
            for v in node.inputs
            if v is not None
        ]
        return computed(node.operator, given)

    def conv(
        self, x: Value, outputs: int, kernel: int | tuple[int, int] = 1, *, groups: int = 1,
        stride: int = 1, padding: Any = None, dilation: int = 1, bias: bool = True,
    ) -> Value:  # fmt: skip
        taps = (kernel, kernel) if isinstance(kernel, int) else kernel
        pads = tuple((dilation * (k // 2),) * 2 for k in taps) if padding is None else padding
        how = Convolution(
            stride=(stride, stride), padding=pads, dilation=(dilation, dilation), groups=groups
        )
        weight = self.constant(outputs, x.shape[1] // groups, *taps)
        return self.add(how, x, weight, *([self.constant(outputs)] if bias else []))

    def linear(self, x: Value, outputs: int) -> Value:
        return self.add(Linear(), x, self.constant(outputs, x.shape[1]), self.constant(outputs))

    def norm(self, x: Value) -> Value:
        channels = x.shape[1]
        weight, bias, mean = (self.constant(channels) for _ in range(3))
        variance = self._rng.uniform(0.5, 2, channels).astype(self.dtype)
        given = weight, bias, mean, self.graph.constant(variance, "variance")
        return self.add(BatchNorm(epsilon=1e-3), x, *given)

    def scale(self, x: Value) -> Value:
        return self.binary("mul", x, self.constant(*(x.shape[1], 1, 1)[: len(x.shape) - 1]))

    def relu(self, x: Value) -> Value:
        return self.add(Activate(activation="relu"), x)

    def binary(self, function: str, x: Value, other: Value) -> Value:
        return self.add(Binary(function=function), x, other)

    def sum(self, *values: Value) -> Value:
        total, *rest = values
        for value in rest:
            total = self.binary("add", total, value)
        return total

    def merged(self, *outputs: Value) -> Counter:
        """Merge it, see that it computes the same, and return how often each operator is there."""
        self.graph.outputs, self.graph.names = list(outputs), [v.name for v in outputs]
        covered = Counter(name for node in self.graph.nodes for name in node.covers)
        before_us = sum(node.before_us for node in self.graph.nodes)
        macs, wanted = macs_of(self.graph), results(self.graph)
        merge(self.graph)
        for result, right in zip(results(self.graph), wanted, strict=True):
            assert result.shape == right.shape
            tolerance = 1e-12 if self.dtype == "float64" else 1e-5
            assert (result - right).abs().max() <= tolerance * max(1, right.abs().max())
        assert macs_of(self.graph) <= macs
        assert Counter(name for node in self.graph.nodes for name in node.covers) == covered
        assert sum(node.before_us for node in self.graph.nodes) == before_us
        return Counter(type(node.operator).__name__ for node in self.graph.nodes)


def tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, "float64"))


def computed(operator: Operator, given: list[torch.Tensor]) -> torch.Tensor:
    """Return what an operator makes, in float64."""
    if isinstance(operator, Convolution):
        (top, bottom), (first, last) = operator.padding
        padded = functional.pad(given[0], (first, last, top, bottom))
        bias = given[2] if len(given) > 2 else None
        return functional.conv2d(
            padded, given[1], bias, operator.stride, 0, operator.dilation, operator.groups
        )
    if isinstance(operator, Linear):
        return functional.linear(*given)
    if isinstance(operator, BatchNorm):
        x, weight, bias, mean, variance = given
        return functional.batch_norm(x, mean, variance, weight, bias, eps=operator.epsilon)
    if isinstance(operator, Binary):
        return getattr(torch, operator.function)(*given)
    if isinstance(operator, Foreign):
        return functional.pad(given[0], (1, 1, 1, 1), mode=operator.called)
    assert isinstance(operator, Activate)
    return given[0].relu()


def results(graph: Graph) -> list[torch.Tensor]:
    """Return what a graph computes, in float64."""
    (x,) = graph.inputs
    image = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values = {x: image}
    for node in graph.nodes:
        taken = [v for v in node.inputs if v is not None]
        given = [values[v] if v.constant is None else tensor(v.constant) for v in taken]
        values[node.output] = computed(node.operator, given)
    return [values[output] for output in graph.outputs]


def macs_of(graph: Graph) -> int:
    """Return the multiplications and additions per pixel, one for each element-wise operator."""
    weights = [node.constant(1) for node in graph.nodes]
    return sum(
        weight.size if isinstance(node.operator, (Convolution, Linear)) else node.output.shape[1]
        for node, weight in zip(graph.nodes, weights, strict=True)
    )


@st.composite
def branches(draw: Any, net: Net, groups: tuple[int, ...], stride: int) -> Value:
    channels = net.x.shape[1]
    kinds = ["conv", "conv", "conv", "relu", "two"] + ["itself", "norm"] * (stride == 1)
    kind = draw(st.sampled_from(kinds))
    y = net.x
    if kind == "norm":
        y = net.norm(y)
    elif kind != "itself":
        if kind == "two":
            y = net.conv(y, draw(st.integers(1, 9)), bias=draw(st.booleans()))
        taps = draw(st.sampled_from([1, 3, 3, 5, (1, 3), (3, 1)]))
        which = 1 if kind == "two" else draw(st.sampled_from(groups))
        how = {"stride": stride, "dilation": draw(st.integers(1, 2)), "bias": draw(st.booleans())}
        y = net.conv(y, channels, taps, groups=which, **how)
    for behind in draw(st.lists(st.sampled_from([net.norm, net.scale]), max_size=2)):
        y = behind(y)
    return net.relu(y) if kind == "relu" else y


@st.composite
def nets(draw: Any) -> tuple[Net, list[Value]]:
    """Draw sums of branches of one image, each with or without what keeps it from being merged."""
    channels = draw(st.sampled_from([1, 2, 4, 6, 12]))
    height, width = draw(st.integers(5, 9)), draw(st.integers(5, 9))
    net = Net(draw(st.integers(1, 2)), channels, height, width, seed=draw(st.integers(0, 99)))
    groups = tuple(n for n in (1, 2, 3, channels) if channels % n == 0)
    stride = draw(st.integers(1, 2))
    values = [draw(branches(net, groups, stride)) for _ in range(draw(st.integers(2, 5)))]
    outputs = []
    while len(values) > 1:
        one, other = (values.pop(draw(st.integers(0, len(values) - 1))) for _ in range(2))
        y = net.binary(draw(st.sampled_from(["add", "add", "sub"])), one, other)
        if draw(st.integers(0, 3)) == 0:
            y = draw(st.sampled_from([net.norm, net.scale]))(y)
        if draw(st.integers(0, 5)) == 0:
            outputs.append(y)
        values.append(y)
    if draw(st.booleans()):
        values = [net.conv(values[0], draw(st.integers(1, 8)))]
    return net, [*outputs, *values]


@given(nets())
@settings(max_examples=60, deadline=None)
def test_a_sum_of_any_branches(drawn: tuple[Net, list[Value]]) -> None:
    net, outputs = drawn
    before = len(net.graph.nodes)
    net.merged(*outputs)
    assert len(net.graph.nodes) <= before


@pytest.mark.parametrize("groups", [1, 6, 24])
@pytest.mark.parametrize("stride", [1, 2])
def test_repvgg(groups: int, stride: int) -> None:
    net = Net(1, 24, 8, 7)
    how = {"groups": groups, "stride": stride, "bias": False}
    parts = [net.norm(net.conv(net.x, 24, taps, **how)) for taps in (3, 1)]
    parts += [net.norm(net.x)] if stride == 1 else []
    assert net.merged(net.relu(net.sum(*parts))) == {"Convolution": 1, "Activate": 1}
    assert net.graph.nodes[0].operator.groups == groups


def test_mobileone() -> None:
    """Four convolutions that are alike, a 1x1 one and a batch norm; then the same, pointwise."""
    net = Net(1, 16, 8, 7)
    parts = [net.norm(net.conv(net.x, 16, 3, groups=16, bias=False)) for _ in range(4)]
    parts += [net.norm(net.conv(net.x, 16, 1, groups=16, bias=False)), net.norm(net.x)]
    y = net.relu(net.sum(*parts))
    parts = [net.norm(net.conv(y, 16, bias=False)) for _ in range(4)] + [net.norm(y)]
    assert net.merged(net.sum(*parts)) == {"Convolution": 2, "Activate": 1}


def test_repvit() -> None:
    """The identity without a batch norm, and a batch norm of the sum."""
    net = Net(1, 16, 8, 7)
    first, second = (net.conv(net.x, 16, taps, groups=16) for taps in (3, 1))
    y = net.norm(net.sum(net.norm(first), second, net.x))
    assert net.merged(y) == {"Convolution": 1}


@pytest.mark.parametrize("normed_first", [False, True])
def test_fastvit(normed_first: bool) -> None:
    """x + scale * (mixer(x) - norm(x)); of norm(x), what is padded is not what x is padded with."""
    net = Net(1, 16, 8, 7)
    x = net.norm(net.x) if normed_first else net.x
    parts = [net.norm(net.conv(x, 16, taps, groups=16, bias=False)) for taps in (3, 1)]
    mixed = net.binary("sub", net.sum(*parts, net.norm(x)), x if normed_first else net.norm(x))
    y = net.sum(net.x, net.scale(mixed))
    several = {"BatchNorm": 1, "Convolution": 1, "Binary": 1}
    assert net.merged(y) == (several if normed_first else {"Convolution": 1})


def test_two_classifiers_of_one_row() -> None:
    net = Net(3, 12)
    parts = [net.linear(net.norm(net.x), 7) for _ in range(2)]
    half = net.graph.constant(np.array(0.5), "half")
    assert net.merged(net.binary("mul", net.sum(*parts), half)) == {"Linear": 1}


def test_rows_that_are_scaled_by_channels_alone_stay() -> None:
    net = Net(3, 12)
    assert net.merged(net.sum(net.norm(net.x), net.x)) == {"BatchNorm": 1, "Binary": 1}


def test_1x1_convolutions_in_a_row() -> None:
    """They become one where that has fewer MACs: from 8 channels over 6 to 16 it has 128 of 144."""
    net = Net(1, 8, 6, 6)
    assert net.merged(net.conv(net.conv(net.x, 6), 16)) == {"Convolution": 1}
    net = Net(1, 8, 6, 6)
    assert net.merged(net.conv(net.conv(net.x, 5), 16)) == {"Convolution": 2}
    net = Net(1, 8, 6, 6)
    assert net.merged(net.conv(net.conv(net.x, 12, 3, stride=2), 11)) == {"Convolution": 1}
    net = Net(1, 8, 6, 6)
    assert net.merged(net.conv(net.conv(net.x, 8, 3, groups=8), 8)) == {"Convolution": 2}
    net = Net(1, 8, 6, 6)
    assert net.merged(net.conv(net.norm(net.x), 8)) == {"Convolution": 1}


def test_a_padded_convolution_of_what_is_shifted_stays() -> None:
    net = Net(1, 8, 6, 6)
    assert net.merged(net.conv(net.conv(net.x, 8), 8, 3)) == {"Convolution": 2}
    net = Net(1, 8, 6, 6)
    shifted = net.conv(net.x, 8, 1, padding=((1, 1), (1, 1)))
    assert net.merged(net.conv(shifted, 8, padding=((1, 1), (1, 1)))) == {"Convolution": 2}


def test_windows_that_lie_off_one_another() -> None:
    net = Net(1, 4, 6, 6)
    parts = [net.conv(net.x, 4, 3, padding=pads) for pads in (((2, 0), (1, 1)), ((1, 1), (1, 1)))]
    assert net.merged(net.sum(*parts)) == {"Convolution": 1}
    assert net.graph.nodes[0].operator.padding == ((2, 1), (1, 1))


def test_a_difference_of_dilated_windows() -> None:
    net = Net(1, 4, 9, 9)
    parts = [net.conv(net.x, 4, taps, dilation=2) for taps in (5, 3, 1)]
    y = net.binary("sub", parts[0], net.binary("sub", net.sum(parts[1], net.x), parts[2]))
    assert net.merged(y) == {"Convolution": 1}
    assert net.graph.nodes[0].operator.dilation == (2, 2)


def test_what_is_not_merged_is_added_to_what_is() -> None:
    """The scaled branches of another value keep their scale, in their own convolution."""
    net = Net(1, 8, 6, 6)
    other = net.relu(net.conv(net.x, 8))
    parts = [net.conv(net.x, 8, 3), net.conv(other, 8, 3), net.conv(net.x, 8), other]
    total = net.scale(net.sum(*parts[:3]))
    merged = net.merged(net.sum(total, other), other)
    assert merged == {"Convolution": 3, "Binary": 1, "Activate": 1}
    net = Net(1, 8, 6, 6)
    other = net.relu(net.x)
    difference = net.binary("sub", net.sum(net.conv(net.x, 8), net.x), other)
    assert net.merged(net.binary("mul", difference, net.constant(8, 1, 1)), other) == {
        "Convolution": 2, "Binary": 1, "Activate": 1,
    }  # fmt: skip


def stays(net: Net, *outputs: Value) -> None:
    """Fail where a graph changes."""
    before = Counter(type(node.operator).__name__ for node in net.graph.nodes)
    assert net.merged(*outputs) == before


def test_an_activation_between() -> None:
    net = Net(1, 8, 6, 6)
    stays(net, net.sum(net.relu(net.conv(net.x, 8, 3)), net.conv(net.x, 8)))


def test_a_branch_that_is_used_elsewhere() -> None:
    net = Net(1, 8, 6, 6)
    one, other = net.conv(net.x, 8, 3), net.conv(net.x, 8)
    stays(net, net.sum(one, other), one, net.relu(other))
    net = Net(1, 8, 6, 6)
    one = net.conv(net.x, 6)
    stays(net, net.conv(one, 16), one)


def test_batch_statistics() -> None:
    """A batch norm whose mean is computed."""
    net = Net(1, 8, 6, 6)
    node = net.norm(net.x).maker
    mean = Value("mean", (8,), (8,), "float64")
    net.graph.inputs.append(mean)
    net.graph.retake(node, 3, mean)
    net.graph.outputs = [net.sum(node.output, net.conv(net.x, 8))]
    merge(net.graph)
    assert len(net.graph.nodes) == 3


def test_weights_that_are_computed() -> None:
    net = Net(1, 8, 6, 6)
    total = net.sum(net.conv(net.x, 8, 3), net.conv(net.x, 8))
    weight = Value("weight", (8, 8, 1, 1), (8, 8, 1, 1), "float64")
    net.graph.inputs.append(weight)
    net.graph.retake(net.graph.nodes[1], 1, weight)
    net.graph.outputs = [total]
    merge(net.graph)
    assert len(net.graph.nodes) == 3


def test_windows_with_other_strides() -> None:
    """The size of an image of one pixel does not tell them apart."""
    net = Net(1, 8, 1, 1)
    stays(net, net.sum(net.conv(net.x, 8, 3), net.conv(net.x, 8, 3, stride=2)))


def test_windows_with_other_dilations() -> None:
    """One of 5 taps holds every second one, not one of 3; no dilation, one moved by a tap."""
    net = Net(1, 8, 9, 9)
    assert net.merged(net.sum(net.conv(net.x, 8, 5), net.conv(net.x, 8, 3, dilation=2))) == {
        "Convolution": 1
    }
    net = Net(1, 8, 9, 9)
    stays(net, net.sum(net.conv(net.x, 8, 3), net.conv(net.x, 8, 3, dilation=2)))
    net = Net(1, 8, 9, 9)
    pads = ((2, 2), (2, 2)), ((1, 3), (2, 2))
    stays(net, net.sum(*(net.conv(net.x, 8, 3, dilation=2, padding=each) for each in pads)))
    net = Net(1, 8, 9, 9)
    moved = net.conv(net.x, 8, 3, padding=((2, 0), (2, 0)))
    stays(net, net.sum(net.conv(net.x, 8, 5, dilation=2), moved))


def test_results_that_have_one_size_by_chance() -> None:
    """At a stride of 2, one more row of zeros at the end is read for an odd height alone."""
    net = Net(1, 8, 8, 8)
    pads = ((1, 1), (1, 1)), ((1, 0), (1, 0))
    stays(net, net.sum(*(net.conv(net.x, 8, 3, stride=2, padding=each) for each in pads)))


def test_results_that_are_broadcast() -> None:
    net = Net(1, 8, 6, 6)
    stays(net, net.sum(net.conv(net.x, 8, 3), net.conv(net.x, 1, 3)))
    net = Net(1, 1, 6, 6)
    stays(net, net.sum(net.conv(net.x, 8, 3), net.x))


def test_sizes_that_may_differ() -> None:
    net = Net(1, 8, 6, 6)
    total = net.sum(net.conv(net.x, 8, 3), net.conv(net.x, 8))
    net.graph.nodes[0].output.sizes = (1, 8, "h", 6)
    stays(net, total)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_that_is_not_zeros(mode: str) -> None:
    net = Net(1, 8, 6, 6)
    padded = net.add(Foreign(called=mode, payload=None), net.x)
    valid = net.conv(padded, 8, 3, padding=((0, 0), (0, 0)))
    stays(net, net.sum(valid, net.conv(net.x, 8)))


def test_a_depthwise_convolution_and_a_dense_one() -> None:
    """One dense 7x7 convolution would have 49 times the MACs of the 1x1 one."""
    net = Net(1, 8, 8, 8)
    stays(net, net.sum(net.conv(net.x, 8, 7, groups=8), net.conv(net.x, 8)))
    net = Net(1, 8, 8, 8)
    stays(net, net.sum(net.conv(net.x, 8, (1, 7)), net.conv(net.x, 8, (7, 1))))


def test_scales_alone() -> None:
    net = Net(1, 8, 8, 8)
    stays(net, net.sum(net.scale(net.relu(net.x)), net.x, net.x))


@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
def test_weights_that_are_not_finite(value: float) -> None:
    """Products with zeros beside them would be something else than nothing."""
    net = Net(1, 8, 6, 6, dtype="float32")
    one, other = net.conv(net.x, 8, 3), net.scale(net.conv(net.x, 8, 1, groups=8))
    net.graph.nodes[1].constant(1)[3] = 9
    net.graph.nodes[2].constant(1)[3] = value
    net.graph.outputs = [net.sum(one, other)]
    merge(net.graph)
    assert len(net.graph.nodes) == 4
    net.graph.nodes[2].constant(1)[3] = 3
    merge(net.graph)
    assert len(net.graph.nodes) == 1


def test_weights_are_rounded_once() -> None:
    net = Net(1, 8, 6, 6, dtype="float32")
    y = net.scale(net.sum(net.norm(net.conv(net.x, 8, 3)), net.norm(net.conv(net.x, 8)), net.x))
    net.graph.outputs = [y]
    exact = _responses(net.graph)
    merge(net.graph)
    (node,) = net.graph.nodes
    bias = node.constant(2).reshape(-1, 1, 1)
    np.testing.assert_array_equal(bias[:, 0, 0], exact[0].astype("float32"))
    np.testing.assert_array_equal(node.constant(1), exact[1].astype("float32"))


def _responses(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias and the 3x3 weight of a linear graph, from what it makes of impulses."""
    values: dict[Value, torch.Tensor] = {graph.inputs[0]: torch.zeros(9, 8, 5, 5).double()}
    for channel in range(8):
        values[graph.inputs[0]][channel, channel, 2, 2] = 1
    for node in graph.nodes:
        given = [values[v] if v.constant is None else tensor(v.constant) for v in node.inputs]
        values[node.output] = computed(node.operator, given)
    y = values[graph.outputs[0]].numpy()
    bias = y[8, :, 2, 2]
    taps = (y[:8, :, 1:4, 1:4] - bias[:, None, None])[:, :, ::-1, ::-1]
    return bias, taps.swapaxes(0, 1)


def test_groups_become_fewer() -> None:
    generator = np.random.default_rng(0)
    x, weight = generator.standard_normal((2, 12, 5, 5)), generator.standard_normal((24, 2, 3, 3))
    wanted = functional.conv2d(tensor(x), tensor(weight), groups=6)
    for groups in (1, 2, 3, 6):
        fewer = tensor(in_groups(weight, 6, groups))
        torch.testing.assert_close(functional.conv2d(tensor(x), fewer, groups=groups), wanted)


def test_long_chains() -> None:
    net = Net(1, 2, 3, 3)
    y = net.x
    for _ in range(1500):
        y = net.graph.add(
            Node(Binary(function="add"), [y, net.x], [Value("y", y.shape, y.sizes, y.dtype)])
        ).output
    conv = net.add(POINT, y, net.constant(2, 2, 1, 1))
    net.graph.outputs = [conv]
    merge(net.graph)
    assert len(net.graph.nodes) == 1501


class Branches(nn.Module):
    """RepVGG's block with statistics of its own, at last two projections that are summed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Sequential(conv, nn.BatchNorm2d(channels))
            for conv in (depthwise(channels), depthwise(channels, 1), depthwise(channels, 5))
        )
        self.norm = nn.BatchNorm2d(channels)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.first, self.second = pointwise(channels, 12), pointwise(channels, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total: Any = 0
        for each in self.convolutions:
            total = total + each(x)
        y = torch.relu(x + self.scale * (total - self.norm(x)))
        return torch.relu(self.first(y) + self.second(y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_of_pytorch(dtype: torch.dtype) -> None:
    model = random_(Branches(8)).to(dtype)
    x = images(1, 8, 9, 9, dtype=dtype)
    fast = dwt.optimize(model, x)
    check(model, fast, x)
    check(model, fast, images(3, 8, 9, 9, dtype=dtype))
    assert kinds(fast) == {"separable": 1}
    assert left_to_torch(fast) == set()


def test_statistics_of_the_batch() -> None:
    """What is computed anew in each call is not merged."""
    model = random_(Branches(8))
    model.norm = nn.BatchNorm2d(8, track_running_stats=False)
    x = images(2, 8, 9, 9)
    fast = dwt.optimize(model.eval(), x)
    check(model, fast, x)
    assert left_to_torch(fast) >= {"batch_norm"}


@pytest.mark.parametrize("opened", [False, True])
def test_a_file_of_onnx(opened: bool, tmp_path: Path) -> None:
    model, file = random_(Branches(8)), tmp_path / "model.onnx"
    axes = {"x": {0: "n", 2: "h", 3: "w"}} if opened else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (images(1, 8, 9, 9),), file, dynamo=False, opset_version=17,
            input_names=["x"], dynamic_axes=axes,
        )  # fmt: skip
    network = load(file, **({"inputs": {"x": (1, 8, 9, 9)}} if opened else {}))
    for shape in ((1, 8, 9, 9), (2, 8, 12, 7))[: 1 + opened]:
        x = images(*shape)
        with torch.no_grad():
            wanted = model.double()(x.double()).float().numpy()
        assert_close(called(network, x.numpy()), [wanted], 1e-5)
    assert left(network) == []
    assert len(network.program.steps) == 1
