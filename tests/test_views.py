"""Arrays in any memory: the result is right and where it belongs, and nothing is copied in vain."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError

RNG = np.random.default_rng(0)


def whole_numbers(*shape):
    return RNG.integers(-3, 4, shape).astype(np.float32)


# How a copy of an array may lie in memory.


def axes_in_order(*order):
    """Return what lays an array's axes out in this order, as far as it has so many."""

    def lay_out(array):
        axes = [axis % array.ndim for axis in order if axis < array.ndim]
        axes = list(dict.fromkeys([*axes, *range(array.ndim)]))
        return array.transpose(axes).copy().transpose(np.argsort(axes))

    return lay_out


def backwards(*axes):
    return lambda array: np.flip(np.flip(array, axes).copy(), axes)


def inside_another(array):
    around = np.full([n + 3 for n in array.shape], np.nan, array.dtype)
    view = around[tuple(slice(1, 1 + n) for n in array.shape)]
    view[...] = array
    return view


def every_second_element(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


def every_second_item(array):
    return np.repeat(array, 2, axis=0)[::2]


def not_aligned(array):
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def field_of_records(array):
    records = np.zeros(array.shape, [("tag", "u1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


VIEWS = {
    "contiguous": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "channels last": axes_in_order(0, 2, 3, 1),
    "channels first": axes_in_order(0, -1),
    "batch last": axes_in_order(1, 2, 3, 0),
    "planes transposed": axes_in_order(0, 1, 3, 2),
    "last axis backwards": backwards(-1),
    "first axis backwards": backwards(0),
    "inside another": inside_another,
    "every second element": every_second_element,
    "every second item": every_second_item,
    "not aligned": not_aligned,
    "field of records": field_of_records,
}

MIX = whole_numbers(4, 5)


def separable(x, weight, bias, **attributes):
    return dw.separable_conv2d(x, weight, MIX, bias, **attributes)


def inverted(x, weight, bias, **attributes):
    return dw.inverted_residual(x, MIX.T, weight, MIX, bias, padding=1, residual=True, **attributes)


CALLS = {
    "NCHW": (dw.depthwise_conv2d, (2, 5, 7, 9), (5, 1, 3, 3), {"padding": 1}),
    "NHWC": (dw.depthwise_conv2d, (2, 7, 9, 5), (5, 1, 3, 3), {"padding": 1, "layout": "NHWC"}),
    "NCL": (dw.depthwise_conv1d, (2, 5, 17), (5, 1, 3), {"padding": "causal"}),
    "NLC": (dw.depthwise_conv1d, (2, 17, 5), (5, 1, 3), {"padding": "causal", "layout": "NLC"}),
    "one channel": (dw.depthwise_conv2d, (2, 1, 7, 9), (1, 1, 3, 3), {}),
    "one pixel": (dw.depthwise_conv2d, (2, 5, 1, 1), (5, 1, 3, 3), {"padding": 1}),
    "separable": (separable, (2, 5, 7, 9), (5, 1, 3, 3), {"padding": 1, "stride": 2}),
    "separable, NHWC": (separable, (2, 7, 9, 5), (5, 1, 3, 3), {"layout": "NHWC"}),
    "inverted": (inverted, (2, 4, 7, 9), (5, 1, 3, 3), {}),
    "inverted, NHWC": (inverted, (2, 7, 9, 4), (5, 1, 3, 3), {"layout": "NHWC"}),
    "no batch": (dw.depthwise_conv2d, (3, 7, 8), (6, 1, 3, 3), {"stride": 2}),
}


@pytest.fixture(params=CALLS)
def call(request):
    """Return a function with its attributes, contiguous arguments, and what it computes of them."""
    function, shape, weight, attributes = CALLS[request.param]
    arrays = whole_numbers(*shape), whole_numbers(*weight), whole_numbers(weight[0])
    return function, attributes, arrays, function(*arrays, **attributes)


@pytest.mark.parametrize("name", VIEWS)
def test_inputs_of_any_strides_are_read_where_they_lie(call, name):
    function, attributes, arrays, expected = call
    given = [VIEWS[name](array) for array in arrays]
    for array in given:
        array.flags.writeable = False
    np.testing.assert_array_equal(function(*given, **attributes), expected)
    for before, after in zip(arrays, given, strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("name", VIEWS)
def test_outputs_of_any_strides_are_written_where_they_lie_and_nothing_beside_them(call, name):
    function, attributes, (x, *weights), expected = call
    out = VIEWS[name](np.full_like(expected, np.nan))
    memory = whole_memory(out)
    before = memory.tobytes()
    assert function(VIEWS[name](x), *weights, out=out, **attributes) is out
    np.testing.assert_array_equal(out, expected)
    out[...] = np.nan
    assert memory.tobytes() == before


def whole_memory(view):
    while isinstance(view.base, np.ndarray):
        view = view.base
    return view


def test_repeated_inputs_need_not_be_stored_repeatedly(call):
    function, attributes, (x, *weights), _ = call
    one, many = x[:1, ..., :1], x.shape
    expected = function(np.broadcast_to(one, many).copy(), *weights, **attributes)
    for given in (np.broadcast_to(one, many), torch.from_numpy(one.copy()).expand(many)):
        assert 0 in np.asarray(given).strides or one.shape == many
        np.testing.assert_array_equal(function(given, *weights, **attributes), expected)


TENSORS = {
    "contiguous": torch.Tensor.contiguous,
    "channels last": lambda t: t.movedim(1, -1).contiguous().movedim(-1, 1),
    "channels first": lambda t: t.movedim(-1, 1).contiguous().movedim(1, -1),
    "transposed": lambda t: t.mT.contiguous().mT,
    "slice of channels": lambda t: torch.cat([t, t], 1)[:, t.shape[1] :],
    "every second": lambda t: t.repeat_interleave(2, -1)[..., ::2],
    "at an odd offset": lambda t: torch.cat([t.new_zeros(3), t.flatten()])[3:].view(t.shape),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_any_strides(call, name):
    function, attributes, arrays, expected = call
    x, weight, bias = (torch.from_numpy(array) for array in arrays)
    expected = torch.from_numpy(expected)
    given = TENSORS[name](x), TENSORS[name](weight), bias
    result = function(*given, **attributes)
    assert isinstance(result, torch.Tensor)
    assert torch.equal(result, expected)
    out = TENSORS[name](torch.full_like(expected, torch.nan))
    strides = out.stride()
    assert function(*given, out=out, **attributes) is out
    assert torch.equal(out, expected)
    assert out.stride() == strides


class TorchCalls(TorchFunctionMode):
    """Notes every function of torch that is called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))


SIZE = 1, 32, 96, 96
WEIGHT = whole_numbers(32, 1, 3, 3)
IN_PLACE = {
    "NumPy": (lambda: whole_numbers(*SIZE), {}),
    "NumPy, a batch of a larger one": (lambda: whole_numbers(3, *SIZE[1:])[1:2], {}),
    "NumPy, without a batch": (lambda: whole_numbers(*SIZE[1:]), {}),
    "NumPy, NHWC": (lambda: whole_numbers(1, 96, 96, 32), {"layout": "NHWC"}),
    "NumPy, NHWC seen as NCHW": (lambda: whole_numbers(1, 96, 96, 32).transpose(0, 3, 1, 2), {}),
    "torch contiguous": (lambda: torch.randn(SIZE), {}),
    "torch channels_last": (
        lambda: torch.randn(SIZE).contiguous(memory_format=torch.channels_last),
        {},
    ),
}


@pytest.mark.parametrize("kind", IN_PLACE)
def test_neither_input_nor_output_is_copied(kind):
    make, attributes = IN_PLACE[kind]
    x, out = make(), make()
    arguments = {"padding": 1, "out": out, **attributes}
    assert copied(x, arguments) < 0.1
    assert copied(x, arguments | {"out": None}) < 1.1  # the result


def test_an_input_that_cannot_be_read_in_place_is_copied_once():
    x = whole_numbers(1, 64, 96, 96)[:, ::2]
    assert 1 <= copied(x, {"padding": 1, "out": whole_numbers(*SIZE)}) < 1.1


def copied(x, arguments):
    """Return how much memory a repeated call takes at most, in units of its input."""
    with TorchCalls() as calls:
        dw.depthwise_conv2d(x, WEIGHT, **arguments)
    assert not calls.names & {"clone", "contiguous", "copy_", "to", "empty", "empty_like"}
    tracemalloc.start()
    try:
        dw.depthwise_conv2d(x, WEIGHT, **arguments)
        return tracemalloc.get_traced_memory()[1] / x.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("function", ["numpy", "torch"])
def test_an_output_whose_elements_lie_over_each_other_is_refused(function):
    x = whole_numbers(2, 5, 7, 9)
    out = np.lib.stride_tricks.as_strided(np.zeros((5, 7, 9), "f4"), x.shape, (0, 252, 36, 4))
    if function == "torch":
        x, out = torch.from_numpy(x), torch.from_numpy(out)
    with pytest.raises(ArrayError, match="out"):
        dw.depthwise_conv2d(x, whole_numbers(5, 1, 3, 3), padding=1, out=out)
    assert not np.asarray(out).any()


@pytest.mark.parametrize("overlapping", ["weight", "bias", "x"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_an_output_over_any_argument_is_refused(overlapping, kind):
    arrays = {
        "x": whole_numbers(1, 5, 3, 3),
        "weight": whole_numbers(5, 1, 3, 3),
        "bias": whole_numbers(5),
    }
    memory = np.resize(arrays[overlapping], 49)
    arrays[overlapping] = memory[: arrays[overlapping].size].reshape(arrays[overlapping].shape)
    out = memory[4:].reshape(1, 5, 3, 3)
    before = memory.copy()
    arguments = {name: kind(array) for name, array in arrays.items()}
    with pytest.raises(ArrayError, match="out shares no memory with an input"):
        dw.depthwise_conv2d(**arguments, padding=1, out=kind(out))
    np.testing.assert_array_equal(memory, before)


@pytest.mark.parametrize(
    "x",
    [
        torch.ones(1, 5, 3, 3).to(torch.float8_e5m2),
        np.ones((1, 5, 3, 3), ">f4"),
        np.ones((1, 5, 3, 3), np.longdouble),
        np.ones((1, 5, 3, 3), np.complex64),
        np.ones((1, 5, 3, 3), int),
    ],
    ids=["8 bits", "big-endian", "longdouble", "complex", "whole numbers"],
)
def test_elements_that_are_not_floats_in_this_machines_order_are_refused(x):
    with pytest.raises(DTypeError, match="x has dtype float32, float64, bfloat16 or float16; got"):
        dw.depthwise_conv2d(x, whole_numbers(5, 1, 3, 3))


@pytest.mark.parametrize("how", ["to_sparse", "to_mkldnn"])
def test_tensors_that_are_not_dense_are_refused(how):
    with pytest.raises(ArrayError, match=r"x is dense \(use \.to_dense\(\)\)"):
        dw.depthwise_conv2d(getattr(torch.ones(1, 5, 3, 3), how)(), whole_numbers(5, 1, 3, 3))


def test_what_was_accepted_before_is_refused_where_it_is_not_the_same():
    x, weight = whole_numbers(1, 5, 3, 3), whole_numbers(5, 1, 3, 3)
    dw.depthwise_conv2d(x, weight, padding=1)
    with pytest.raises(DTypeError, match="x has dtype"):
        dw.depthwise_conv2d(x.astype(">f4"), weight, padding=1)
    tensor = torch.from_numpy(x)
    dw.depthwise_conv2d(tensor, weight, padding=1)
    with pytest.raises(ArrayError, match="requires no gradient"):
        dw.depthwise_conv2d(tensor.requires_grad_(), weight, padding=1)
