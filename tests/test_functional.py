"""The functions people call: torch's results in either layout, and bad input refused untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError, SpecError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 9, 11), dtype=np.float32)
WEIGHT = RNG.standard_normal((12, 1, 3, 2), dtype=np.float32)
BIAS = RNG.standard_normal(12, dtype=np.float32)
MIX = RNG.standard_normal((5, 12), dtype=np.float32)


def close(got, expected):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-5, atol=1e-5)


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


@pytest.mark.parametrize(
    ("arguments", "pads"),
    [
        ({}, (0, 0, 0, 0)),
        ({"padding": 1}, (1, 1, 1, 1)),
        ({"padding": (0, 1)}, (1, 1, 0, 0)),
        ({"padding": [[2, 1], [0, 1]]}, (0, 1, 2, 1)),
        ({"padding": "valid", "stride": (2, 1)}, (0, 0, 0, 0)),
        ({"padding": "SAME"}, (0, 1, 1, 1)),
        ({"padding": "same", "stride": 2}, (0, 1, 1, 1)),
        ({"padding": 2, "dilation": [2, 1]}, (2, 2, 2, 2)),
    ],
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_depthwise_is_torchs_grouped_convolution(arguments, pads, layout):
    padded = F.pad(torch.from_numpy(X), pads)
    stride, dilation = (arguments.get(name, 1) for name in ("stride", "dilation"))
    expected = F.conv2d(
        padded, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS), stride, 0, dilation, groups=6
    ).relu()
    x = X if layout == "NCHW" else last(X)
    y = dw.depthwise_conv2d(x, WEIGHT, BIAS, layout=layout, activation="relu", **arguments)
    close(y if layout == "NCHW" else np.moveaxis(y, -1, 1), expected)


@pytest.mark.parametrize("weight", [MIX[:, :6], MIX[:, :6, None, None]])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pointwise_mixes_channels_and_adds_the_residual_last(weight, layout):
    x = X if layout == "NCHW" else last(X)
    expected = np.maximum(np.einsum("nchw,oc->nohw", X, MIX[:, :6]) + BIAS[:5, None, None], 0) + 1
    residual = np.ones_like(expected if layout == "NCHW" else last(expected))
    y = dw.pointwise_conv2d(
        x, weight, BIAS[:5], layout=layout, activation="relu", residual=residual
    )
    close(y if layout == "NCHW" else np.moveaxis(y, -1, 1), expected)


def test_true_as_the_residual_is_the_input_itself():
    square = RNG.standard_normal((6, 6), dtype=np.float32)
    close(dw.pointwise_conv2d(X, square, residual=True), dw.pointwise_conv2d(X, square, residual=X))
    close(dw.pointwise_conv2d(X, square, residual=False), dw.pointwise_conv2d(X, square))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_separable_is_one_after_the_other(layout):
    x = X if layout == "NCHW" else last(X)
    between = dw.depthwise_conv2d(
        x, WEIGHT, BIAS, stride=2, padding=1, layout=layout, activation="relu6"
    )
    expected = dw.pointwise_conv2d(between, MIX, BIAS[:5], layout=layout, activation="silu")
    y = dw.separable_conv2d(
        x, WEIGHT, MIX, BIAS, BIAS[:5], stride=2, padding=1, layout=layout,
        depthwise_activation="relu6", activation="silu",
    )  # fmt: skip
    assert np.array_equal(y, expected)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes_are_those_of_torch(mode):
    module = torch.nn.Conv2d(6, 12, (3, 2), padding=1, groups=6, padding_mode=mode, bias=False)
    module.weight.data = torch.from_numpy(WEIGHT)
    with torch.no_grad():
        close(
            dw.depthwise_conv2d(X, WEIGHT, padding=1, padding_mode=mode),
            module(torch.from_numpy(X)),
        )


def test_without_a_batch_axis_there_is_none_in_the_result():
    for layout, x in (("NCHW", X[0]), ("NHWC", last(X)[0])):
        whole = dw.depthwise_conv2d(x[None], WEIGHT, layout=layout)
        assert np.array_equal(dw.depthwise_conv2d(x, WEIGHT, layout=layout), whole[0])


def test_a_torch_tensor_gives_one_and_keeps_its_memory_format():
    weight = torch.from_numpy(WEIGHT)
    x = torch.from_numpy(X).contiguous(memory_format=torch.channels_last)
    y = dw.depthwise_conv2d(x, weight, padding=1)
    assert isinstance(y, torch.Tensor)
    assert y.is_contiguous(memory_format=torch.channels_last)
    close(y, F.conv2d(x, weight, padding=1, groups=6))
    out = torch.empty_like(y)
    assert dw.depthwise_conv2d(x, weight, padding=1, out=out) is out
    assert torch.equal(out, y)


def test_a_transposed_view_of_channels_last_memory_is_computed_as_such():
    y = dw.depthwise_conv2d(last(X).transpose(0, 3, 1, 2), WEIGHT)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    close(y, dw.depthwise_conv2d(X, WEIGHT))


def test_new_values_of_a_weight_are_used():
    weight = WEIGHT.copy()
    before = dw.depthwise_conv2d(X, weight)
    weight *= 2
    close(dw.depthwise_conv2d(X, weight), 2 * before)


def out_of(shape=(2, 12, 7, 10), dtype="float32"):
    return np.full(shape, 7, dtype)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"x": X.tolist()}, DTypeError, "x is a NumPy array or a DLPack tensor"),
        ({"x": X.astype("int16")}, DTypeError, "x has dtype float32, float64, bfloat16 or float16"),
        ({"x": X.astype(">f4")}, DTypeError, "x has dtype float32, float64, bfloat16 or float16"),
        ({"x": X[0, 0]}, ArrayError, "x has 4 axes, or 3 without a batch"),
        ({"x": X[:0]}, ArrayError, "none empty"),
        ({"x": np.ma.masked_invalid(X)}, DTypeError, "x has no mask"),
        ({"x": X[:, :0]}, ArrayError, "none empty"),
        ({"x": X.astype(object)}, DTypeError, "x has dtype .* got object"),
        ({"weight": None}, DTypeError, "weight is a NumPy array .* got NoneType"),
        ({"weight": WEIGHT[:0]}, ArrayError, "none empty"),
        ({"weight": WEIGHT[:, :, 0]}, ArrayError, "weight has 4 axes"),
        ({"weight": WEIGHT[:7]}, ArrayError, "weight has 4 axes, .C . multiplier, 1, KH, KW."),
        ({"weight": WEIGHT.astype("float64")}, DTypeError, "weight has the problem's dtype"),
        ({"weight": np.repeat(WEIGHT, 2, axis=1)}, ArrayError, r"weight has . axes, .*, 1, K"),
        ({"bias": BIAS[:3]}, ArrayError, "bias has shape"),
        ({"stride": 0}, SpecError, "at least 1"),
        ({"stride": -1, "padding": "same"}, SpecError, "at least 1"),
        ({"stride": (1, 2, 3)}, SpecError, "stride"),
        ({"stride": 1.5}, SpecError, "stride is a whole number"),
        ({"stride": {}}, SpecError, "stride"),
        ({"padding": -1}, SpecError, "padding is not negative"),
        ({"padding": "full"}, SpecError, "padding"),
        ({"padding": float("nan")}, SpecError, "padding"),
        ({"padding": 10**30}, SpecError, "padding"),
        ({"dilation": 9}, SpecError, "the dilated kernel fits"),
        ({"padding_mode": "mirror"}, SpecError, "padding_mode is one of"),
        ({"layout": "NHCW"}, SpecError, "layout is one of"),
        ({"layout": []}, SpecError, "layout is one of"),
        ({"layout": np.array(["NCHW", "NHWC"])}, SpecError, "layout is one of"),
        ({"activation": "tanh"}, SpecError, "activation is"),
        ({"threads": 0}, SpecError, "threads are at least 1"),
        ({"threads": "two"}, SpecError, "threads is a whole number"),
        ({"out": out_of((2, 12, 7, 9))}, ArrayError, "out has shape"),
        ({"out": out_of()[0]}, ArrayError, "out has as many axes as x"),
        ({"out": out_of(dtype="float64")}, DTypeError, "out has the problem's dtype"),
        ({"x": torch.from_numpy(X).requires_grad_()}, ArrayError, "requires no gradient here"),
        ({"x": torch.from_numpy(X).to("meta")}, ArrayError, "CPU"),
    ],
)
def test_what_cannot_be_computed_is_refused_and_out_is_left_alone(arguments, kind, words):
    call = {"x": X, "weight": WEIGHT, "bias": BIAS, "out": out_of(), **arguments}
    with pytest.raises(kind, match=words):
        dw.depthwise_conv2d(**call)
    assert np.all(call["out"] == 7)


@pytest.mark.parametrize(
    ("function", "arguments", "kind", "words"),
    [
        (dw.pointwise_conv2d, {"weight": MIX[None, :, :6]}, ArrayError, "weight has 2 or 4 axes"),
        (dw.pointwise_conv2d, {"weight": MIX}, ArrayError, r"weight has shape \(5, 6\)"),
        (
            dw.pointwise_conv2d,
            {"residual": True},
            ArrayError,
            r"residual has shape \(2, 5, 9, 11\)",
        ),
        (dw.pointwise_conv2d, {"residual": X[0]}, ArrayError, "residual has as many axes as x"),
        (dw.pointwise_conv2d, {"residual": 1}, DTypeError, "residual is a NumPy array .* got int"),
        (dw.separable_conv2d, {"depthwise_weight": WEIGHT[:7]}, ArrayError, "depthwise_weight has"),
        (dw.separable_conv2d, {"pointwise_weight": MIX[:, :6]}, ArrayError, r"shape \(5, 12\)"),
        (dw.separable_conv2d, {"pointwise_bias": BIAS}, ArrayError, "pointwise_bias has shape"),
        (dw.separable_conv2d, {"depthwise_activation": "tanh"}, SpecError, "activation is one of"),
    ],
)
def test_the_other_functions_refuse_alike(function, arguments, kind, words):
    call = {
        "x": X,
        "depthwise_weight": WEIGHT,
        "pointwise_weight": MIX,
        "out": out_of((2, 5, 7, 10)),
    }
    if function is dw.pointwise_conv2d:
        call = {"x": X, "weight": MIX[:, :6], "out": out_of((2, 5, 9, 11))}
    with pytest.raises(kind, match=words):
        function(**(call | arguments))
    assert np.all(call["out"] == 7)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batched", [True, False])
def test_a_given_output_may_lie_in_any_order_and_is_written_whole(layout, batched):
    for x in (X, last(X)):
        given = x if batched else x[0]
        source = given if (x is X) == (layout == "NCHW") else np.moveaxis(given, *MOVES[layout])
        expected = dw.depthwise_conv2d(np.ascontiguousarray(source), WEIGHT, layout=layout)
        for out in (np.full_like(expected, np.nan), np.full_like(expected.T, np.nan).T):
            assert dw.depthwise_conv2d(source, WEIGHT, layout=layout, out=out) is out
            close(out, expected)


MOVES = {"NCHW": (-1, -3), "NHWC": (-3, -1)}
"""How an array of the other layout is viewed in this one, as `np.moveaxis` takes it."""


def test_a_gradient_is_not_required_where_gradients_are_off():
    x = torch.from_numpy(X)
    weight = torch.from_numpy(WEIGHT.copy()).requires_grad_()
    with pytest.raises(ArrayError, match=r"weight requires no gradient.*depthwise\.torch"):
        dw.depthwise_conv2d(x, weight)
    with torch.no_grad():
        close(dw.depthwise_conv2d(x, weight), F.conv2d(x, weight, groups=6))


def test_an_output_that_begins_inside_an_input_is_refused():
    memory = np.concatenate([X.ravel(), X.ravel()])
    before = memory.copy()
    x, shifted = memory[: X.size].reshape(X.shape), memory[5 : X.size + 5].reshape(X.shape)
    square = np.ones((6, 6), np.float32)
    with pytest.raises(ArrayError, match="out shares no memory with an input"):
        dw.pointwise_conv2d(x, square, out=shifted)
    assert np.array_equal(memory, before)


def test_an_output_over_an_input_or_read_only_is_refused():
    square = RNG.standard_normal((6, 6), dtype=np.float32)
    x = X.copy()
    with pytest.raises(ArrayError, match="out shares no memory with an input"):
        dw.pointwise_conv2d(x, square, out=x)
    assert np.array_equal(x, X)
    x.flags.writeable = False
    with pytest.raises(ArrayError, match="out is writable"):
        dw.pointwise_conv2d(X, square, out=x)


def test_a_value_is_refused_whatever_was_computed_before():
    dw.depthwise_conv2d(X, WEIGHT, stride=1, padding=1)
    for wrong in ({"stride": True}, {"padding": 1.0}):
        with pytest.raises(SpecError):
            dw.depthwise_conv2d(X, WEIGHT, **({"stride": 1, "padding": 1} | wrong))
    dw.depthwise_conv2d(X, WEIGHT, stride=(1, 1), padding=((1, 1), (1, 1)))
    for wrong in ({"stride": (1.0, 1)}, {"stride": (1, True)}, {"padding": ((1, 1.0), (1, 1))}):
        right = {"stride": (1, 1), "padding": ((1, 1), (1, 1))}
        with pytest.raises(SpecError, match="is a whole number; got"):
            dw.depthwise_conv2d(X, WEIGHT, **(right | wrong))


def test_numbers_of_any_kind_are_taken():
    expected = dw.depthwise_conv2d(X, WEIGHT, stride=(2, 1))
    for stride in ([2, 1], (np.int64(2), 1), torch.Size([2, 1])):
        for _ in range(2):
            np.testing.assert_array_equal(dw.depthwise_conv2d(X, WEIGHT, stride=stride), expected)


def test_an_output_whose_elements_share_memory_is_refused():
    out = np.broadcast_to(np.zeros(1, X.dtype), dw.depthwise_conv2d(X, WEIGHT).shape)
    shared = np.lib.stride_tricks.as_strided(np.zeros(1, X.dtype), out.shape, out.strides)
    with pytest.raises(ArrayError, match="memory for each element"):
        dw.depthwise_conv2d(X, WEIGHT, out=shared)


def test_autograd_sees_that_an_output_was_written_to():
    out = torch.from_numpy(dw.depthwise_conv2d(X, WEIGHT))
    scale = torch.ones((), dtype=out.dtype, requires_grad=True)
    product = (out * scale).sum()
    with torch.no_grad():
        dw.depthwise_conv2d(torch.from_numpy(X), torch.from_numpy(WEIGHT), out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()
