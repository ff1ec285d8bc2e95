"""Pools: against the oracle and torch, what they touch, and as parts of networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise as dw
import depthwise.torch as dwt
from depthwise.errors import ParseError, SpecError
from depthwise.loading import load
from depthwise.network.operators import Pool
from depthwise.network.pools import ceiled
from depthwise.network.steps import Stage
from depthwise.problem import reference
from depthwise.problem.pools import PoolSpec
from exact import differences
from onnx_models import assert_close, called, checked, left, model, node, noise, port
from strategies import pool_specs


@settings(max_examples=60)
@given(pool_specs(), st.integers(1, 3))
@example(dw.parse("maxpool n2 c17 h9 w12 k3x2 s2x1 p1,0,0,1 d2x1 nhwc"), 1)
@example(dw.parse("avgpool c64 hw5 k5 p4 nhwc float64"), 2)
@example(dw.parse("avgpool c3 h1 w70 k1x9 s1x4 p0,0,3,5 nhwc padded"), 3)
@example(dw.parse("avgpool c70 hw9 k3 s2 p1 nhwc uint8"), 3)
@example(dw.parse("maxpool c70 hw9 k3 s2 p1 nhwc int8"), 3)
def test_kernels_compute_what_the_oracle_does(spec: PoolSpec, threads: int) -> None:
    x, *operands, out = dw.random_problem(spec)
    dw.compile(spec)(x, *operands, out=out, threads=threads)
    wanted = reference.forward(spec, x, *operands)
    np.testing.assert_allclose(out, wanted, *reference.tolerance(spec))


CPUS = (None, "haswell", "skylake-avx512", "nehalem")


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("line", [
    "maxpool c133 hw9 k3 s2 p1 nhwc uint8",
    "maxpool n2 c70 hw9 k3 s2 p1 nhwc int8",
    "avgpool c133 hw9 k3 p1 nhwc uint8",
    "avgpool n2 c70 hw9 k5x2 s3 p2,0 nhwc int8 padded",
])  # fmt: skip
def test_pools_of_quantized_images_are_exact_on_each_cpu(line: str, cpu: str | None) -> None:
    spec = dw.parse(line)
    arrays = dw.random_problem(spec)[:-1]
    kernel = dw.compile(spec, target=cpu)
    if kernel.target.missing:
        pytest.skip(f"this machine is no {cpu}")
    got = kernel(*arrays)
    np.testing.assert_array_equal(got, reference.forward(spec, *arrays))
    assert got.dtype == spec.dtype
    assert len(np.unique(got)) > 20


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_padding_of_a_quantized_mean_stands_for_zero_whatever_the_zero_point(dtype: str) -> None:
    spec = dw.parse(f"avgpool c5 hw4 k3 p1 nhwc {dtype} padded")
    x, scale, zeros, bounds, _ = dw.random_problem(spec)
    for zero in range(spec.element.range[0], spec.element.range[1] + 1):
        zeros[:] = zero
        x[...] = zero
        assert (dw.compile(spec)(x, scale, zeros, bounds) == zero).all()


@settings(max_examples=20)
@given(pool_specs(), st.integers(1, 3))
def test_kernels_touch_only_their_arrays(guarded, spec: PoolSpec, runs: int) -> None:
    guarded.check(spec, runs=runs)


@given(pool_specs())
def test_a_line_is_read_back(spec: PoolSpec) -> None:
    assert dw.parse(str(spec)) == spec


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (5, 1, 2)])
def test_torch_computes_the_same(kernel: int, stride: int, padding: int, padded: bool) -> None:
    window = f"c24 h11 w8 k{kernel} s{stride} p{padding} nhwc"
    x = noise(2, 24, 11, 8)
    image, nhwc = torch.from_numpy(x), np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    wanted = {
        f"maxpool n2 {window}": F.max_pool2d(image, kernel, stride, padding),
        f"avgpool n2 {window}{' padded' * padded}": F.avg_pool2d(
            image, kernel, stride, padding, count_include_pad=padded
        ),
    }
    for line, result in wanted.items():
        made = dw.compile(line)(nhwc).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(made, result.numpy(), rtol=1e-6, atol=1e-6)


def test_a_nan_is_the_largest_of_its_windows_alone() -> None:
    x = np.zeros((1, 5, 5, 17), np.float32)
    x[0, 2, 2, 3] = np.nan
    y = dw.compile("maxpool c17 hw5 k2 s1 nhwc")(x)
    assert np.argwhere(np.isnan(y)).tolist() == [[0, i, j, 3] for i in (1, 2) for j in (1, 2)]


def test_the_largest_of_the_least_numbers() -> None:
    x = np.full((1, 4, 4, 20), -np.inf, np.float32)
    np.testing.assert_array_equal(dw.compile("maxpool c20 hw4 k3 p1 nhwc")(x), x)


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("maxpool c4 hw9 k3", ParseError, "maxpool is of nhwc images"),
        ("avgpool c4 hw9 k3 nhwc padded padded", ParseError, "padded is given once"),
        ("avgpool c4 hw9 k3 nhwc relu", SpecError, "windows of a depthwise convolution"),
        ("avgpool c4 hw9 k3 m2 nhwc", SpecError, "windows of a depthwise convolution"),
        ("maxpool c4 hw9 k3 p3 nhwc", SpecError, "every window holds a pixel"),
        ("avgpool c4 h1 w9 k2x1 p2,0 d3x1 nhwc", SpecError, "every window holds a pixel"),
        ("maxpool c4 hw2 k3 nhwc", SpecError, "maxpool|depthwise"),
        ("maxpool c4 hw9 k3 p1 nhwc int8 padded", SpecError, "largest of quantized images is over"),
    ],
)
def test_what_is_no_pool_is_refused(line: str, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        dw.parse(line)


def test_cost() -> None:
    cost = dw.cost("maxpool c64 hw112 k3 s2 p1 nhwc")
    assert (cost.macs, cost.params) == (0, 0)
    assert cost.bytes == 4 * 64 * (112 * 112 + 56 * 56)


@pytest.mark.parametrize("line", ["c24 h11 w8 k3 s2 p1", "c17 h5 w6 k2x3 s1 p0,1,2,1 d2x1"])
def test_the_largest_with_zeros_around(line: str) -> None:
    spec = dw.parse(f"maxpool {line} nhwc padded")
    x = noise(*spec.input_shape) - 1
    (top, bottom), (left, right) = spec.window.padding  # type: ignore[attr-defined]
    around = F.pad(torch.from_numpy(x.transpose(0, 3, 1, 2)), (left, right, top, bottom))
    window = spec.window  # type: ignore[attr-defined]
    wanted = F.max_pool2d(around, window.kernel, window.stride, 0, window.dilation).numpy()
    np.testing.assert_array_equal(dw.compile(spec)(x).transpose(0, 3, 1, 2), wanted)


ZEROS, LEAST = 0.0, -np.inf
PADDED = {
    "zeros, largest": (ZEROS, "MaxPool", [0, 0, 0, 0], {}, True),
    "least, largest": (LEAST, "MaxPool", [0, 0, 0, 0], {}, True),
    "least of float32, largest": (np.finfo("f").min, "MaxPool", [1, 0, 0, 1], {}, True),
    "zeros, mean": (ZEROS, "AveragePool", [0, 0, 0, 0], {}, True),
    "zeros, mean of more zeros": (ZEROS, "AveragePool", [1] * 4, {"count_include_pad": 1}, True),
    "zeros, mean of what exists": (ZEROS, "AveragePool", [1, 1, 1, 1], {}, False),
    "another number, mean": (-1.5, "AveragePool", [0, 0, 0, 0], {}, False),
    "another number, largest": (-1.5, "MaxPool", [0, 0, 0, 0], {}, False),
}


@pytest.mark.parametrize("name", PADDED)
def test_pools_of_padded_images(name: str) -> None:
    """HGNetV2 pads with zeros, others with less than any number; both are parts of the pool.

    The result is that of onnx: ONNX Runtime takes zeros before a MaxPool for less than any number.
    """
    value, operator, pads, how, ours = PADDED[name]
    nodes = [
        node("Conv", "x k", "a"), node("Pad", "a around value", "b"),
        node(operator, "b", "y", kernel_shape=[3, 3], pads=pads, **how),
    ]  # fmt: skip
    arrays = {
        "k": noise(8, 8, 1, 1), "around": np.array([0, 0, 0, 1, 0, 0, 1, 0]),
        "value": np.array(value, "f"),
    }  # fmt: skip
    made, x = model(nodes, [port("x", (2, 8, 5, 6))], ["y"], arrays), noise(2, 8, 5, 6) - 1
    network = load(made)
    assert (left(network) == []) == ours
    assert_close(called(network, x), ReferenceEvaluator(made).run(None, {"x": x}))


def test_an_image_padded_twice_with_different_numbers_is_left_to_onnx_runtime() -> None:
    nodes = [
        node("Conv", "x k", "a"), node("Pad", "a around", "b"),
        node("MaxPool", "b", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]  # fmt: skip
    arrays = {"k": np.abs(noise(8, 8, 1, 1)), "around": np.array([0, 0, 0, 1, 0, 0, 1, 0])}
    made = model(nodes, [port("x", (2, 8, 5, 6))], ["y"], arrays)
    assert left(checked(made, np.abs(noise(2, 8, 5, 6)))) != []


def test_what_is_padded_for_a_pool_and_a_convolution() -> None:
    """HGNetV2's stem: each takes the zeros in, and nothing is padded."""
    nodes = [
        node("Conv", "x k", "a"), node("Pad", "a around", "b"),
        node("MaxPool", "b", "c", kernel_shape=[2, 2]), node("Conv", "b m", "d"),
        node("Add", "c d", "y"),
    ]  # fmt: skip
    arrays = {
        "k": noise(8, 8, 1, 1), "m": noise(8, 8, 2, 2),
        "around": np.array([0, 0, 0, 0, 0, 0, 1, 1]),
    }  # fmt: skip
    network = checked(model(nodes, [port("x", (2, 8, 5, 6))], ["y"], arrays), noise(2, 8, 5, 6))
    assert left(network) == []


def test_what_is_padded_and_returned() -> None:
    nodes = [
        node("Conv", "x k", "a"), node("Pad", "a around", "b"),
        node("MaxPool", "b", "c", kernel_shape=[2, 2]), node("Conv", "b m", "d"),
    ]  # fmt: skip
    arrays = {
        "k": noise(8, 8, 1, 1), "m": noise(8, 8, 2, 2),
        "around": np.array([0, 0, 0, 0, 0, 0, 1, 1]),
    }  # fmt: skip
    made = model(nodes, [port("x", (2, 8, 5, 6))], ["b", "c", "d"], arrays)
    checked(made, noise(2, 8, 5, 6))


@given(
    st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2), st.integers(1, 2)
)
def test_ceil_mode_is_padding_behind(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    """torch has as many windows, and finds the same in them."""
    if padding > kernel // 2 or size + 2 * padding < dilation * (kernel - 1) + 1:
        return
    pair = (padding, padding)
    pool = Pool(
        kind="maxpool", kernel=(1, kernel), stride=(1, stride), padding=((0, 0), pair),
        dilation=(1, dilation), padded=False,
    )  # fmt: skip
    x = noise(1, 1, 1, size)
    wanted = F.max_pool2d(
        torch.from_numpy(x), (1, kernel), (1, stride), (0, padding), (1, dilation), ceil_mode=True
    )
    (_, ends) = ceiled(pool, (1, size)).padding  # type: ignore[union-attr]
    line = f"maxpool c1 h1 w{size} k1x{kernel} s1x{stride} p0,0,{ends[0]},{ends[1]} d1x{dilation}"
    made = reference.forward(dw.parse(f"{line} nhwc"), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(made[0, 0, :, 0], wanted.numpy()[0, 0, 0])


POOLS = {
    "largest": ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "largest, far": ("MaxPool", {"kernel_shape": [2, 3], "dilations": [2, 1]}),
    "largest, ceil": ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "largest, same": (
        "MaxPool",
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    ),
    "mean": ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "mean, padded": (
        "AveragePool",
        {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1},
    ),
    "mean, ceil": ("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_of_onnx_between_convolutions(name: str) -> None:
    operator, attributes = POOLS[name]
    nodes = [
        node("Conv", "x first", "a"), node(operator, "a", "b", **attributes),
        node("Conv", "b second", "y"),
    ]  # fmt: skip
    weights = {"first": noise(24, 8, 1, 1), "second": noise(8, 24, 1, 1)}
    network = checked(model(nodes, [port("x", (2, 8, 11, 8))], ["y"], weights), noise(2, 8, 11, 8))
    assert left(network) == []
    assert [step.work.spec.kind for step in network.program.steps] == [
        "pointwise", f"{operator[:3].lower()}pool".replace("avepool", "avgpool"), "pointwise",
    ]  # fmt: skip


def test_a_pool_that_no_kernel_is_beside_is_left_to_onnx_runtime() -> None:
    made = model([node("MaxPool", "x", "y", kernel_shape=[2, 2])], [port("x", (1, 4, 6, 6))], ["y"])
    assert left(checked(made, noise(1, 4, 6, 6))) == ["MaxPool"]


def test_pools_of_any_size() -> None:
    nodes = [
        node("Conv", "x weight", "a"),
        node("MaxPool", "a", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    made = model(nodes, [port("x", ("n", 8, "h", "w"))], ["y"], {"weight": noise(16, 8, 1, 1)})
    for shape in ((1, 8, 9, 7), (3, 8, 4, 12)):
        assert left(checked(made, noise(*shape))) == []


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 1, 1, dilation=1),
        nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AvgPool2d(2),
    ],
    ids=str,
)  # fmt: skip
def test_pools_of_torch(pool: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(8, 16, 1), pool, nn.Conv2d(16, 8, 1)).eval()
    x = torch.randn(1, 8, 11, 8)
    fast = dwt.optimize(network, x)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), network(x), rtol=1e-5, atol=1e-5)
    works = [step.work for step in fast.network.program.steps]
    assert all(isinstance(work, Stage) for work in works)
    assert works[1].spec.kind in ("maxpool", "avgpool")


def test_a_pool_with_a_divisor_of_its_own_is_left_to_torch() -> None:
    pool = nn.AvgPool2d(2, divisor_override=3)
    network = nn.Sequential(nn.Conv2d(8, 16, 1), pool).eval()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(dwt.optimize(network, x)(x), network(x))


def test_differences_of_pools_are_counted() -> None:
    spec = dw.parse("avgpool c4 hw4 k2 nhwc")
    x = dw.random_problem(spec)[0]
    assert differences(spec, dw.compile(spec)(x), reference.forward(spec, x)) == 0
