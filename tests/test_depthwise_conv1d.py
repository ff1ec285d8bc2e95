"""The function for sequences: torch's results in either layout, causal, and bad input refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError, SpecError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 23), dtype=np.float32)
WEIGHT = RNG.standard_normal((12, 1, 4), dtype=np.float32)
BIAS = RNG.standard_normal(12, dtype=np.float32)


def close(got, expected):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-5, atol=1e-5)


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


@pytest.mark.parametrize(
    ("arguments", "pads"),
    [
        ({}, (0, 0)),
        ({"padding": 1}, (1, 1)),
        ({"padding": (0, 2)}, (0, 2)),
        ({"padding": [3, 1]}, (3, 1)),
        ({"padding": "valid", "stride": 2}, (0, 0)),
        ({"padding": "same"}, (1, 2)),
        ({"padding": "same", "stride": 3}, (1, 1)),
        ({"padding": "causal"}, (3, 0)),
        ({"padding": "causal", "dilation": 2}, (6, 0)),
        ({"padding": "CAUSAL", "stride": 2, "dilation": 3}, (9, 0)),
        ({"padding": 30, "dilation": 17}, (30, 30)),
    ],
)
@pytest.mark.parametrize("layout", ["NCL", "NLC"])
def test_it_is_torchs_grouped_convolution(arguments, pads, layout):
    padded = F.pad(torch.from_numpy(X), pads)
    stride, dilation = (arguments.get(name, 1) for name in ("stride", "dilation"))
    expected = F.conv1d(
        padded, torch.from_numpy(WEIGHT), torch.from_numpy(BIAS), stride, 0, dilation, groups=6
    ).relu()
    x = X if layout == "NCL" else last(X)
    y = dw.depthwise_conv1d(x, WEIGHT, BIAS, layout=layout, activation="relu", **arguments)
    close(y if layout == "NCL" else np.moveaxis(y, -1, 1), expected)


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_causal_output_depends_on_no_later_input(layout, dilation):
    x = X if layout == "NCL" else last(X)
    attributes = {"padding": "causal", "dilation": dilation, "layout": layout}
    before = dw.depthwise_conv1d(x, WEIGHT, **attributes)
    assert before.shape[2 if layout == "NCL" else 1] == 23
    changed = x.copy()
    later = (slice(None), slice(None), slice(11, None))
    later = later if layout == "NCL" else (later[0], later[2])
    changed[later] = np.nan
    after = dw.depthwise_conv1d(changed, WEIGHT, **attributes)
    assert np.isnan(after[later]).any()
    after[later] = before[later]
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_modes_are_those_of_torch(mode):
    module = torch.nn.Conv1d(6, 12, 4, padding=3, groups=6, padding_mode=mode, bias=False)
    module.weight.data = torch.from_numpy(WEIGHT)
    with torch.no_grad():
        expected = module(torch.from_numpy(X))
    close(dw.depthwise_conv1d(X, WEIGHT, padding=3, padding_mode=mode), expected)


def test_it_is_the_convolution_of_planes_of_one_row():
    flat = dw.depthwise_conv2d(
        X[:, :, None], WEIGHT[:, :, None], BIAS, stride=(1, 2), padding=((0, 0), (2, 1))
    )
    close(dw.depthwise_conv1d(X, WEIGHT, BIAS, stride=2, padding=(2, 1)), flat[:, :, 0])


def test_float64_stays_float64():
    y = dw.depthwise_conv1d(X.astype("f8"), WEIGHT.astype("f8"))
    assert y.dtype == np.float64
    expected = F.conv1d(torch.from_numpy(X).double(), torch.from_numpy(WEIGHT).double(), groups=6)
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("layout", ["NCL", "NLC"])
def test_without_a_batch_axis_there_is_none_in_the_result(layout):
    x = X[0] if layout == "NCL" else last(X)[0]
    whole = dw.depthwise_conv1d(x[None], WEIGHT, layout=layout)
    np.testing.assert_array_equal(dw.depthwise_conv1d(x, WEIGHT, layout=layout), whole[0])


def test_a_transposed_sequence_is_computed_in_its_own_memory_order():
    y = dw.depthwise_conv1d(last(X).transpose(0, 2, 1), WEIGHT, padding="causal")
    assert y.transpose(0, 2, 1).flags.c_contiguous
    close(y, dw.depthwise_conv1d(X, WEIGHT, padding="causal"))


def test_a_torch_tensor_gives_one():
    x, weight = torch.from_numpy(X), torch.from_numpy(WEIGHT)
    for given in (x, x.mT.contiguous().mT):
        y = dw.depthwise_conv1d(given, weight, stride=2)
        assert isinstance(y, torch.Tensor)
        close(y, F.conv1d(x, weight, stride=2, groups=6))
        out = torch.full_like(y, torch.nan)
        assert dw.depthwise_conv1d(given, weight, stride=2, out=out) is out
        assert torch.equal(out, y)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    x = RNG.standard_normal((2, 64, 1024), dtype=np.float32)
    weight = RNG.standard_normal((64, 1, 4), dtype=np.float32)
    for layout, given in (("NCL", x), ("NLC", last(x))):
        attributes = {"padding": "causal", "layout": layout, "activation": "silu"}
        np.testing.assert_array_equal(
            dw.depthwise_conv1d(given, weight, threads=threads, **attributes),
            dw.depthwise_conv1d(given, weight, **attributes),
        )


def out_of(shape=(2, 12, 20), dtype="float32"):
    return np.full(shape, 7, dtype)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"x": X.tolist()}, DTypeError, "x is a NumPy array or a DLPack tensor"),
        (
            {"x": X.astype("int16")},
            DTypeError,
            "x has dtype float32, float64.* or float16; got int16",
        ),
        ({"x": X.astype(">f4")}, DTypeError, "x has dtype float32, float64.*; got >f4"),
        ({"x": X[0, 0]}, ArrayError, r"x has 3 axes, or 2 without a batch.*got shape \(23,\)"),
        ({"x": X[:, :, None]}, ArrayError, "x has 3 axes, or 2 without a batch"),
        ({"x": X[:0]}, ArrayError, r"none empty; got shape \(0, 6, 23\)"),
        ({"x": X[:, :, :0]}, ArrayError, r"none empty; got shape \(2, 6, 0\)"),
        ({"weight": WEIGHT[:, 0]}, ArrayError, "weight has 3 axes"),
        ({"weight": WEIGHT[:, :, None]}, ArrayError, "weight has 3 axes"),
        ({"weight": WEIGHT[:7]}, ArrayError, r"\(C . multiplier, 1, K\) with C = 6"),
        ({"weight": WEIGHT.astype("float64")}, DTypeError, "weight has the problem's dtype"),
        ({"weight": np.repeat(WEIGHT, 2, axis=1)}, ArrayError, r"weight has . axes, .*, 1, K"),
        ({"bias": BIAS[:3]}, ArrayError, r"bias has shape \(12,\); got \(3,\)"),
        ({"stride": 0}, SpecError, "at least 1"),
        ({"stride": (1, 2)}, SpecError, "stride"),
        ({"stride": 1.5}, SpecError, "stride is a whole number"),
        ({"dilation": 8}, SpecError, "the dilated kernel fits"),
        ({"padding": -1}, SpecError, "padding is not negative"),
        ({"padding": "full"}, SpecError, "padding as a word is 'same', 'valid' or, in 1-D, 'caus"),
        ({"padding": ((0, 0), (1, 1))}, SpecError, "padding"),
        ({"padding": 23, "padding_mode": "reflect"}, SpecError, "reflect padding is smaller"),
        ({"padding_mode": "mirror"}, SpecError, "padding_mode is one of"),
        ({"layout": "NCHW"}, SpecError, "layout is one of NCL, NLC; got 'NCHW'"),
        ({"activation": "tanh"}, SpecError, "activation is"),
        ({"threads": 0}, SpecError, "threads are at least 1"),
        ({"out": out_of((2, 12, 19))}, ArrayError, r"out has shape \(2, 12, 20\)"),
        ({"out": out_of()[0]}, ArrayError, "out has as many axes as x"),
        ({"out": out_of(dtype="float64")}, DTypeError, "out has the problem's dtype"),
    ],
)
def test_what_cannot_be_computed_is_refused_and_out_is_left_alone(arguments, kind, words):
    call = {"x": X, "weight": WEIGHT, "bias": BIAS, "out": out_of(), **arguments}
    with pytest.raises(kind, match=words):
        dw.depthwise_conv1d(**call)
    assert np.all(call["out"] == 7)


def test_causal_is_for_sequences_alone():
    with pytest.raises(SpecError, match="padding as a word"):
        dw.depthwise_conv2d(X[:, :, None], WEIGHT[:, :, None], padding="causal")
