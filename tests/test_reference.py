"""The oracle against an independent party: torch in float64, with autograd's gradients."""

import ast
import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

import depthwise as dw
from depthwise.errors import ArrayError, SpecError
from depthwise.problem import reference
from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.data import random_problem
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import ACTIVATIONS, LAYOUTS_1D
from strategies import block_specs, conv_specs, pass_specs

TORCH_ACTIVATIONS = {
    None: lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "hardswish": F.hardswish,
    "silu": F.silu,
    "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": F.hardsigmoid,
}
TORCH_PADDING = {
    "zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular",
}  # fmt: skip

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let torch compute alone: for problems this small a second thread is only waited for."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def float64_problem(spec: dw.ConvSpec | dw.BlockSpec) -> tuple[Array, ...]:
    return tuple(array.astype(np.float64) for array in random_problem(spec)[:-1])


def to_planes(spec: dw.ConvSpec | dw.BlockSpec, array: Array) -> torch.Tensor:
    tensor = torch.from_numpy(array.copy())
    return tensor.movedim(-1, 1) if spec.layout in ("NHWC", "NLC") else tensor


def from_planes(spec: dw.ConvSpec | dw.BlockSpec, tensor: torch.Tensor | None) -> Array:
    assert tensor is not None
    tensor = tensor.detach()
    return (tensor.movedim(1, -1) if spec.layout in ("NHWC", "NLC") else tensor).numpy()


def torch_sum(
    spec: ConvSpec, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the convolution of planes with its bias, by torch, before any activation."""
    (top, bottom), (left, right) = spec.padding
    mode = TORCH_PADDING[spec.padding_mode]
    if spec.layout in LAYOUTS_1D:
        padded = F.pad(x, (left, right), mode=mode)
        return F.conv1d(padded, weight, bias, spec.stride[1:], 0, spec.dilation[1:], spec.groups)
    padded = F.pad(x, (left, right, top, bottom), mode=mode)
    kernel = weight.reshape(spec.out_channels, -1, *spec.kernel)
    return F.conv2d(padded, kernel, bias, spec.stride, 0, spec.dilation, spec.groups)


def torch_conv(spec: ConvSpec, x: torch.Tensor, given: dict[str, torch.Tensor]) -> torch.Tensor:
    y = torch_sum(spec, x, given["weight"], given.get("bias"))
    return TORCH_ACTIVATIONS[spec.activation](y)


def torch_block(spec: BlockSpec, x: torch.Tensor, given: dict[str, torch.Tensor]) -> torch.Tensor:
    def convolve(name: str, part: ConvSpec, x: torch.Tensor) -> torch.Tensor:
        own = {key: given.get(f"{name}_{key}") for key in ("weight", "bias")}
        return torch_conv(part, x, own)

    if spec.expand:
        x = convolve("expand", spec.expand, x)
    x = convolve("depthwise", spec.depthwise, x)
    if gate := spec.squeeze_excite:
        narrow = F.linear(x.mean((2, 3)), given["se_reduce_weight"], given["se_reduce_bias"])
        narrow = TORCH_ACTIVATIONS[gate.activation](narrow)
        wide = F.linear(narrow, given["se_expand_weight"], given["se_expand_bias"])
        x = x * TORCH_ACTIVATIONS[gate.gate](wide)[:, :, None, None]
    return convolve("pointwise" if spec.kind == "separable" else "project", spec.project, x)


def torch_forward(spec: dw.ConvSpec | dw.BlockSpec, x: Array, *operands: Array) -> Array:
    given = {
        name: torch.from_numpy(array)
        for name, array in zip(spec.operands, operands, strict=True)
        if name != "residual"
    }
    compute = torch_block if isinstance(spec, BlockSpec) else torch_conv
    y = from_planes(spec, compute(spec, to_planes(spec, x), given))
    return y + operands[-1] if "residual" in spec.operands else y


def torch_pass(spec: PassSpec, first: Array, *operands: Array) -> Array:
    """Return what autograd gives, flat where several gradients are asked for."""
    conv = spec.conv
    given = dict(zip(spec.operands, operands, strict=True))
    zero = {name: np.zeros(shape, first.dtype) for name, shape in conv.operands.items()}
    given |= {"x" if spec.kind == "training" else "grad": first}
    x = to_planes(conv, given.get("x", np.zeros(conv.input_shape, first.dtype))).requires_grad_()
    leaves = [torch.from_numpy(given.get(name, zero[name])).requires_grad_() for name in zero]
    y = torch_sum(conv, x, *leaves)
    dx, *gradients = torch.autograd.grad(y, [x, *leaves], to_planes(conv, given["grad"]))
    if spec.kind == "input_gradient":
        return from_planes(conv, dx)
    flat = [gradient.numpy().ravel() for gradient in gradients]
    if spec.kind in ("backward", "training"):
        flat = [from_planes(conv, dx).ravel(), *flat]
    if spec.kind == "training":
        flat = [from_planes(conv, y).ravel(), *flat]
    return np.concatenate(flat)


@settings(max_examples=150)
@given(conv_specs())
def test_every_convolution_is_that_of_torch(spec: ConvSpec) -> None:
    arrays = float64_problem(spec)
    y = reference.forward(spec, *arrays)
    assert (y.shape, y.dtype) == (spec.output_shape, np.float64)
    close(y, torch_forward(spec, *arrays))


@given(block_specs())
def test_every_block_is_that_of_torch(spec: BlockSpec) -> None:
    arrays = float64_problem(spec)
    y = reference.forward(spec, *arrays)
    assert (y.shape, y.dtype) == (spec.output_shape, np.float64)
    close(y, torch_forward(spec, *arrays))


@settings(max_examples=150)
@given(conv_specs(), st.integers(0, 3))
def test_gradients_are_those_of_autograd(spec: ConvSpec, seed: int) -> None:
    x, weight, *_ = float64_problem(spec)
    grad = np.random.default_rng(seed).standard_normal(spec.output_shape)
    planes = to_planes(spec, x).requires_grad_()
    taps = torch.from_numpy(weight).requires_grad_()
    bias = torch.zeros(spec.out_channels, dtype=torch.float64, requires_grad=True)
    torch_sum(spec, planes, taps, bias).backward(to_planes(spec, grad))
    close(reference.input_gradient(spec, grad, weight), from_planes(spec, planes.grad))
    assert taps.grad is not None
    assert bias.grad is not None
    close(reference.weight_gradient(spec, x, grad), taps.grad.numpy())
    close(reference.bias_gradient(spec, grad), bias.grad.numpy())


@settings(max_examples=150)
@given(pass_specs())
def test_every_pass_is_that_of_autograd(spec: PassSpec) -> None:
    arrays = float64_problem(spec)
    result = reference.forward(spec, *arrays)
    assert (result.shape, result.dtype) == (spec.output_shape, np.float64)
    close(result, torch_pass(spec, *arrays))


@given(conv_specs(kinds=("depthwise",)))
def test_as_many_groups_as_channels_are_depthwise(spec: ConvSpec) -> None:
    grouped = dataclasses.replace(spec, kind="conv")
    arrays = float64_problem(spec)
    np.testing.assert_array_equal(
        reference.forward(grouped, *arrays), reference.forward(spec, *arrays)
    )


@given(conv_specs(kinds=("depthwise", "conv")))
def test_groups_are_a_dense_convolution_with_blocks_of_zeros(spec: ConvSpec) -> None:
    x, weight, *rest = float64_problem(spec)
    inner, outer = spec.channels // spec.groups, spec.out_channels // spec.groups
    dense_weight = np.zeros((spec.out_channels, spec.channels, *spec.kernel))
    for g in range(spec.groups):
        rows, columns = slice(g * outer, (g + 1) * outer), slice(g * inner, (g + 1) * inner)
        dense_weight[rows, columns] = weight[rows]
    dense = dataclasses.replace(spec, kind="conv", groups=1)
    close(
        reference.forward(dense, x, dense_weight, *rest), reference.forward(spec, x, weight, *rest)
    )


@given(conv_specs(kinds=("pointwise",)))
def test_pointwise_is_a_dense_convolution_of_one_tap(spec: ConvSpec) -> None:
    spec = dataclasses.replace(spec, residual=False)
    x, weight, *bias = float64_problem(spec)
    dense = dataclasses.replace(spec, kind="conv")
    expected = reference.forward(dense, x, weight[:, :, None, None], *bias)
    np.testing.assert_array_equal(reference.forward(spec, x, weight, *bias), expected)


@given(conv_specs(kinds=("depthwise1d",)))
def test_one_dimension_is_two_of_which_one_has_extent_one(spec: ConvSpec) -> None:
    x, weight, *bias = float64_problem(spec)
    layout, axis = ("NHWC", 1) if spec.channels_last else ("NCHW", 2)
    flat = dataclasses.replace(spec, kind="depthwise", layout=layout)
    y = reference.forward(flat, np.expand_dims(x, axis), weight[:, :, None], *bias)
    np.testing.assert_array_equal(reference.forward(spec, x, weight, *bias), y.squeeze(axis))


def test_a_convolution_written_out_element_by_element() -> None:
    spec = dw.parse("depthwise n2 c3 h5 w4 k2x3 s1x2 p1,0,2,1 d2x1 m2 float64 bias relu")
    assert isinstance(spec, ConvSpec)
    x, weight, bias = float64_problem(spec)
    y = np.empty(spec.output_shape)
    for n, o, i, j in np.ndindex(*spec.output_shape):
        total = bias[o]
        for r, s in np.ndindex(2, 3):
            row, column = i + 2 * r - 1, 2 * j + s - 2
            if 0 <= row < 5 and 0 <= column < 4:
                total += x[n, o // 2, row, column] * weight[o, 0, r, s]
        y[n, o, i, j] = max(total, 0)
    assert (y > 0).mean() > 0.2
    close(reference.forward(spec, x, weight, bias), y)


def test_a_gate_stands_behind_the_depthwise_part_even_where_the_others_are_one_object() -> None:
    mix, gate = ConvSpec.pointwise(3, 3, 5, dtype="float64"), SqueezeExcite(channels=2)
    depthwise = ConvSpec.depthwise(3, 5, 3, padding=1, dtype="float64")
    same, other = (
        BlockSpec(
            kind="inverted", expand=mix, depthwise=depthwise, project=project, squeeze_excite=gate
        )
        for project in (mix, dataclasses.replace(mix))
    )
    arrays = float64_problem(same)
    close(reference.forward(same, *arrays), reference.forward(other, *arrays))
    assert list(dw.cost(same).parts) == ["expand", "depthwise", "squeeze_excite", "project"]


def test_the_residual_comes_after_the_activation() -> None:
    spec = ConvSpec.pointwise(1, 1, 1, activation="relu", residual=True)
    y = reference.forward(spec, [[[[-3.0]]]], [[1.0]], [[[[-1.0]]]])
    np.testing.assert_array_equal(y, [[[[-1.0]]]])


# Two slips in published texts, pinned: what is right, and what the slip would have given.


def channels_last_loops(x: Array, weight: Array, pad: int, *, mixed_up: bool = False) -> Array:
    """Compute the textbook's "same" depthwise loops on (H, W, C) with `pad` zeros on every side.

    `mixed_up` reads input and output at one fixed channel, as an index other than the loop's own
    does, while the weight still follows the loop.
    """
    (height, width, channels), k = x.shape, weight.shape[0]
    padded = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    y = np.zeros((height, width, channels))
    for ch in range(channels):
        c = channels - 1 if mixed_up else ch
        for i, j, r, s in np.ndindex(height, width, k, k):
            y[i, j, c] += padded[i + r, j + s, c] * weight[r, s, ch]
    return y


def same_depthwise(padding: int) -> tuple[Array, Array, Array]:
    """Return x (H, W, C), weight (K, K, C) and our y (H', W', C), 3 channels of 6x5, k = 3."""
    spec = ConvSpec.depthwise(3, (6, 5), 3, padding=padding, layout="NHWC", dtype="float64")
    x, weight, _ = random_problem(spec)
    y = reference.forward(spec, x, weight)
    return x[0], weight[:, 0].transpose(1, 2, 0), y[0]


def test_half_the_kernel_is_padded_and_not_the_whole_of_it() -> None:
    x, weight, y = same_depthwise(padding=1)
    close(y, channels_last_loops(x, weight, pad=1))
    slip = channels_last_loops(x, weight, pad=3)
    assert slip.shape == y.shape
    assert not np.allclose(slip, y)
    *_, padded_too_far = same_depthwise(padding=3)
    assert padded_too_far.shape == (10, 9, 3)
    close(slip, padded_too_far[:6, :5])
    close(slip[2:, 2:], y[:4, :3])


def test_each_channel_is_summed_into_itself() -> None:
    x, weight, y = same_depthwise(padding=1)
    slip = channels_last_loops(x, weight, pad=1, mixed_up=True)
    assert not slip[..., :2].any()
    close(slip[..., 2], channels_last_loops(x[..., 2:], weight.sum(2)[..., None], pad=1)[..., 0])
    assert (np.abs(y).max(axis=(0, 1)) > 0.1).all()
    assert not np.allclose(slip[..., 2], y[..., 2])


@pytest.mark.parametrize(
    ("padding", "shape", "inner"),
    [
        ((0, 1), (4, 6), np.s_[:, 1:-1]),
        ((1, 0), (6, 4), np.s_[1:-1]),
        (((1, 0), (0, 0)), (5, 4), np.s_[1:]),
        (((0, 0), (0, 1)), (4, 5), np.s_[:, :-1]),
    ],
)
def test_padding_is_not_skipped_where_one_axis_or_side_has_none(
    padding: Any, shape: tuple[int, int], inner: Any
) -> None:
    spec = ConvSpec.depthwise(2, 6, 3, padding=padding, dtype="float64")
    x, weight, _ = random_problem(spec)
    (y,) = reference.forward(spec, x, weight)
    assert y.shape == (2, *shape)
    skipped = reference.forward(dataclasses.replace(spec, padding=0), x, weight)[0]
    assert skipped.shape == (2, 4, 4)
    for channel in range(2):
        close(y[channel][inner], skipped[channel])
    border = np.ones(shape, bool)
    border[inner] = False
    assert (y[:, border] != 0).all()


# Activations, tolerance, refusals.


@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
def test_activations_are_those_of_torch_and_quiet_at_the_extremes(name: str | None) -> None:
    x = np.concatenate([np.linspace(-12, 12, 2401), [-1e300, -1e4, -750.0, 750.0, 1e4, 1e300]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = reference.activate(name, x)
    np.testing.assert_allclose(
        y, TORCH_ACTIVATIONS[name](torch.from_numpy(x)).numpy(), rtol=1e-12, atol=1e-15
    )
    assert np.isnan(reference.activate(name, np.nan))


def test_gelu_is_the_exact_one() -> None:
    np.testing.assert_allclose(reference.activate("gelu", 1.0), 0.8413447460685429, rtol=1e-15)
    np.testing.assert_allclose(
        reference.activate("gelu", -10.0), -7.619853024160525e-23, rtol=1e-12
    )


@given(conv_specs() | block_specs())
def test_single_precision_lies_within_the_tolerance(spec: dw.ConvSpec | dw.BlockSpec) -> None:
    spec = as_float32(spec)
    *arrays, _ = random_problem(spec)
    rtol, atol = reference.tolerance(spec)
    y = reference.forward(spec, *arrays)
    np.testing.assert_allclose(torch_forward(spec, *arrays), y, rtol=rtol, atol=atol)


@given(pass_specs())
def test_gradients_in_single_precision_lie_within_the_tolerance(spec: PassSpec) -> None:
    spec = dataclasses.replace(spec, conv=as_float32(spec.conv))
    *arrays, _ = random_problem(spec)
    rtol, atol = reference.tolerance(spec)
    result = reference.forward(spec, *arrays)
    np.testing.assert_allclose(torch_pass(spec, *arrays), result, rtol=rtol, atol=atol)


def one_after_another(terms: Array) -> Array:
    """Return sums over the last axis in single precision, every partial sum rounded."""
    return np.cumsum(terms, axis=-1, dtype=np.float32)[..., -1]


def test_a_sum_over_many_pixels_in_single_precision_lies_within_the_tolerance() -> None:
    spec = dw.parse("weight_gradient depthwise n8 c2 hw112 k1 nchw bias")
    grad, x, _ = random_problem(spec)
    grad, x = (array.transpose(1, 0, 2, 3).reshape(2, -1) for array in (grad, x))
    result = np.concatenate([one_after_another(grad * x), one_after_another(grad)])
    rtol, atol = reference.tolerance(spec)
    expected = reference.forward(spec, *random_problem(spec)[:-1])
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=atol)
    assert np.abs(result - expected).max() > atol / 200


def as_float32(spec: dw.ConvSpec | dw.BlockSpec) -> dw.ConvSpec | dw.BlockSpec:
    tokens = [token for token in str(spec).split() if token not in DTYPES]
    return dw.parse(" ".join(tokens))


@pytest.mark.parametrize(
    "text", ["depthwise c8 hw9 k3", "conv c256 o4 hw5 k3", "pointwise c960 o4 hw7"]
)
def test_a_product_left_out_lies_outside_the_tolerance(text: str) -> None:
    spec = dw.parse(text)
    x, weight, _ = random_problem(spec)
    weaker = weight.copy()
    weaker.reshape(len(weight), -1)[:, -1] = 0
    rtol, atol = reference.tolerance(spec)
    wrong = reference.forward(spec, x, weaker)
    outside = ~np.isclose(wrong, reference.forward(spec, x, weight), rtol=rtol, atol=atol)
    assert outside.mean() > 0.9


def test_a_pixel_left_out_of_a_gradient_lies_outside_the_tolerance() -> None:
    spec = dw.parse("weight_gradient depthwise n8 c64 hw56 k3 bias")
    grad, x, _ = random_problem(spec)
    expected = reference.forward(spec, grad, x)
    grad[-1, :, -1, -1] = 0
    rtol, atol = reference.tolerance(spec)
    outside = ~np.isclose(reference.forward(spec, grad, x), expected, rtol=rtol, atol=atol)
    assert outside.mean() > 0.9


def test_the_tolerance_counts_products_in_units_of_rounding() -> None:
    spec = dw.parse("depthwise c8 hw9 k3")
    assert reference.tolerance(spec) == (25 * 2.0**-23, 25 * 2.0**-23)
    assert reference.tolerance(spec, "float64") == (25 * 2.0**-52, 25 * 2.0**-52)
    longer = BlockSpec.inverted(
        4, 6, 5, 3, expanded=12, squeeze_excite=SqueezeExcite(channels=2), dtype="float64"
    )
    assert reference.tolerance(longer)[0] == (4 + 9 + 12 + 12 + 2 + 5 * 16) * 2.0**-52
    conv = "depthwise n4 c8 hw12 k3 m2"
    assert reference.tolerance(dw.parse(f"input_gradient {conv}"))[0] == (18 + 16) * 2.0**-23
    for kind in ("weight_gradient", "backward", "training"):
        assert reference.tolerance(dw.parse(f"{kind} {conv}"))[0] == (2 * 20 + 16) * 2.0**-23


def test_arrays_that_do_not_fit_are_refused() -> None:
    spec = dw.parse("depthwise c4 hw5 k3 bias")
    assert isinstance(spec, ConvSpec)
    x, weight, bias, y = random_problem(spec)
    y = np.zeros_like(y)
    gradient = PassSpec(kind="weight_gradient", conv=spec)
    refusals = [
        (lambda: reference.forward(spec, x, weight), "the operands are weight, bias; got 1 arrays"),
        (lambda: reference.forward(spec, x[0], weight, bias), "input has shape (1, 4, 5, 5); got"),
        (lambda: reference.forward(spec, x, weight[:, 0], bias), "weight has shape (4, 1, 3, 3)"),
        (lambda: reference.forward(spec, x, weight, bias[:1]), "bias has shape (4,); got (1,)"),
        (lambda: reference.input_gradient(spec, x, weight), "grad has shape (1, 4, 3, 3); got"),
        (lambda: reference.input_gradient(spec, y, bias), "weight has shape (4, 1, 3, 3); got"),
        (lambda: reference.weight_gradient(spec, y, y), "input has shape (1, 4, 5, 5); got"),
        (lambda: reference.weight_gradient(spec, x, x), "grad has shape (1, 4, 3, 3); got"),
        (lambda: reference.bias_gradient(spec, x), "grad has shape (1, 4, 3, 3); got"),
        (lambda: reference.forward(gradient, y, weight), "input has shape (1, 4, 5, 5); got"),
        (lambda: reference.forward(gradient, y), "the operands are x; got 0 arrays"),
    ]
    for call, words in refusals:
        with pytest.raises(ArrayError) as caught:
            call()
        assert words in str(caught.value)
        assert str(caught.value).endswith("depthwise c4 hw5 k3 bias")
    with pytest.raises(SpecError, match=r"activation is None or one of relu, .*; got 'elu'"):
        reference.activate("elu", x)


def test_arguments_are_left_as_they_were() -> None:
    spec = dw.parse("inverted c3 e6 o3 hw5 k3 p1 float64 relu6 residual se2 bias")
    arrays = random_problem(spec)[:-1]
    before = [array.copy() for array in arrays]
    reference.forward(spec, *arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


def own_imports(paths: Iterable[Path]) -> set[str]:
    """Return what files import of this package."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in paths)
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.removeprefix("depthwise.") for name in names if name.startswith("depthwise")}


def test_the_oracle_shares_nothing_with_what_it_checks() -> None:
    room = Path(reference.__file__).parent
    reached = own_imports(room.rglob("*.py"))
    assert {name for name in reached if not name.startswith("problem")} == {"errors"}
    problems = (
        "attention",
        "block",
        "causal",
        "causal_gradient",
        "elementwise",
        "gathers",
        "links",
        "pixels",
        "pools",
        "problem",
        "quantized_images",
        "resizes",
        "spec",
        "training",
        "vocabulary",
    )
    oracle = {
        name for name in own_imports((room / "oracle").glob("*.py")) if "problem.oracle" not in name
    }
    assert oracle == {"errors", *(f"problem.{name}" for name in problems)}
