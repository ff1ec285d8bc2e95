"""Operands that do not fit are refused by functions, operators and modules; nothing crashes."""

import copy
import warnings

import numpy as np
import pytest
import torch

import depthwise as dw
import depthwise.torch as dwt
from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.functions.gradients import (
    depthwise_conv2d_input_gradient,
    depthwise_conv2d_weight_gradient,
)
from depthwise.machine import team
from depthwise.torch.convolution import conv2d, conv2d_input_gradient, conv2d_weight_gradient

WINDOW = (1, 1), (0, 0, 0, 0), (1, 1)
STAGE = "depthwise c4 hw5 k3 p1 bias nhwc"
OPERATORS = torch.ops.depthwise


def zeros(*shape):
    return torch.zeros(shape)


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray], ids=["tensor", "array"])
def test_functions_refuse_a_gradient_that_is_not_of_the_output(kind):
    grad, weight = (kind(np.zeros(s, np.float32)) for s in ((1, 8, 4, 4), (8, 1, 3, 3)))
    for size in ((6, 7), (2000, 2000)):
        with pytest.raises(ArrayError, match=r"grad has shape \(1, 8, .*; got \(1, 8, 4, 4\)"):
            depthwise_conv2d_input_gradient(grad, weight, size)
        x = kind(np.zeros((1, 8, *size), np.float32))
        with pytest.raises(ArrayError, match=r"grad has shape .*; got \(1, 8, 4, 4\)"):
            depthwise_conv2d_weight_gradient(grad, x, (3, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [(1, 8, 6, 7), (1, 8, 2000, 2000), (2, 8, 6, 6), (1, 0, 6, 6)])
@pytest.mark.filterwarnings("ignore:kernels compute")
def test_operators_refuse_a_gradient_that_is_not_of_the_output(size, dtype):
    grad, weight = zeros(1, 8, 4, 4).to(dtype), zeros(8, 1, 3, 3).to(dtype)
    for call in (conv2d_input_gradient, OPERATORS.conv2d_input_gradient):
        with pytest.raises((ArrayError, SpecError)):
            call(grad, weight, size, *WINDOW)
    for call in (conv2d_weight_gradient, OPERATORS.conv2d_weight_gradient):
        with pytest.raises((ArrayError, SpecError)):
            call(grad, torch.zeros(size, dtype=dtype), (3, 3), *WINDOW, True)


def test_operators_refuse_images_without_a_batch():
    image, weight = zeros(4, 5, 5), zeros(4, 1, 3, 3)
    for call in (conv2d, OPERATORS.conv2d):
        with pytest.raises(ArrayError, match="4 axes"):
            call(image, weight, None, *WINDOW)
    for call in (conv2d_weight_gradient, OPERATORS.conv2d_weight_gradient):
        with pytest.raises(ArrayError, match="4 axes"):
            call(image, image, (1, 1), *WINDOW, False)


def test_a_stage_refuses_what_is_not_its_problem():
    x, weight, bias = zeros(1, 4, 5, 5), zeros(4, 1, 3, 3), zeros(4)
    assert OPERATORS.compute(x, [weight, bias], [], STAGE).shape == x.shape
    for tensors, computed, problem, error in (
        ((zeros(1, 2, 5, 5), weight, bias), [], STAGE, ArrayError),
        ((x, zeros(1), bias), [], STAGE, ArrayError),
        ((x, weight), [], STAGE, ArrayError),
        ((x, weight, bias), [x], STAGE, ArrayError),
        ((x.double(), weight, bias), [], STAGE, DTypeError),
        ((x, weight.double(), bias), [], STAGE, DTypeError),
        ((zeros(4, 5, 5), weight, bias), [], STAGE, ArrayError),
        ((x, weight, bias), [], STAGE.replace(" nhwc", ""), SpecError),
        ((zeros(1, 4), zeros(4, 1, 1, 1)), [], "depthwise c4 hw5 k1 p1 nhwc", ArrayError),
    ):
        given, *weights = tensors
        with pytest.raises(error):
            OPERATORS.compute(given, weights, computed, problem)


@pytest.mark.parametrize("left", [0, 4, 395], ids=["freed", "shrunk", "a byte short"])
def test_tensors_whose_storage_is_too_small_are_refused_again_and_again(left):
    """Also where calls with such tensors are already prepared."""
    weight, module = zeros(4, 1, 3, 3), dwt.DepthwiseConv2d(4, 4, 3, padding=1)
    kernel = dw.compile("depthwise c4 hw5 k3 p1").bind(weight)
    network = dwt.optimize(copy.deepcopy(module).eval(), zeros(1, 4, 5, 5))
    calls = {
        "network": network,
        "function": lambda x: dw.depthwise_conv2d(x, weight),
        "kernel": kernel,
        "operator": lambda x: conv2d(x, weight, None, *WINDOW),
        "dispatched": lambda x: OPERATORS.conv2d(x, weight, None, *WINDOW),
        "stage": lambda x: OPERATORS.compute(x, [weight, zeros(4)], [], STAGE),
        "module": module,
    }
    for call in calls.values():
        with torch.no_grad():
            call(zeros(1, 4, 5, 5))
            for _ in range(2):
                x = zeros(1, 4, 5, 5)
                x.untyped_storage().resize_(left)
                with pytest.raises(ArrayError, match="storage that holds its elements"):
                    call(x)


def test_a_storage_may_hold_more_than_a_tensor_reads():
    weight, images = zeros(4, 1, 3, 3), torch.arange(300.0).view(3, 4, 5, 5)
    for image in images.split(1):
        given = dw.depthwise_conv2d(image, weight + 1)
        assert torch.equal(given, dw.depthwise_conv2d(image.clone(), weight + 1))
    images = torch.zeros(300).view(3, 4, 5, 5)
    _, inside, beyond = images.split(1)
    images.untyped_storage().resize_(2 * 400)
    dw.depthwise_conv2d(inside, weight)
    with pytest.raises(ArrayError, match="got 800 bytes for 400 from element 200"):
        dw.depthwise_conv2d(beyond, weight)


@pytest.mark.parametrize("addresses", [team.native().addresses, team._addresses])
def test_addresses_are_those_of_tensors_whose_storage_holds_them(addresses):
    def refuse(tensors):
        raise LookupError(len(tensors))

    x, part = torch.zeros(6), torch.zeros(9)[3:]
    assert addresses(refuse, (24, 24), 4, [x, part]) == [x.data_ptr(), part.data_ptr()]
    with pytest.raises(LookupError, match="2"):
        addresses(refuse, (24, 25), 4, (x, part))


def nested(layout):
    with warnings.catch_warnings(action="ignore"):  # torch says that those are a prototype
        return torch.nested.nested_tensor([zeros(4, 5, 5), zeros(4, 6, 5)], layout=layout)


@pytest.mark.parametrize("lies", [team.native().lies, team._lies])
def test_tensors_of_one_shape_type_and_order_lie_alike(lies):
    x = torch.zeros(2, 3)
    assert lies(x) == lies(torch.ones(2, 3)) == lies(torch.zeros(9)[3:].view(2, 3))
    assert lies(x) == lies(torch.nn.Parameter(x))
    others = x.view(3, 2), x.flatten(), x.double(), x.int(), x.bfloat16(), x.half(), x.t(), x[:1]
    assert len({lies(x), *map(lies, others)}) == 1 + len(others)


@pytest.mark.parametrize("lies", [team.native().lies, team._lies])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, device="meta"),
        torch._neg_view(torch.zeros(3)),
        torch.zeros(3).to_sparse(),
        torch.zeros(3).to_mkldnn(),
        nested(torch.strided),
        nested(torch.jagged),
    ],
    ids=["meta", "negated", "sparse", "mkldnn", "nested", "jagged"],
)
def test_tensors_without_memory_that_holds_their_values_do_not_lie_anywhere(lies, tensor):
    with pytest.raises(TypeError, match="the tensor"):
        lies(tensor)


@pytest.mark.parametrize(
    ("x", "remedy"),
    [
        (zeros(1, 4, 5, 5).to_sparse(), r"use \.to_dense\(\)"),
        (zeros(1, 4, 5, 5).to_mkldnn(), r"use \.to_dense\(\)"),
        (nested(torch.strided), r"use \.to_padded_tensor\(0\)"),
        (nested(torch.jagged), r"use \.to_padded_tensor\(0\)"),
    ],
    ids=["sparse", "mkldnn", "nested", "jagged"],
)
def test_tensors_that_are_not_dense_are_refused_with_a_remedy(x, remedy):
    weight = zeros(4, 1, 3, 3)
    kernel = dw.compile("depthwise c4 hw5 k3 p1").bind(weight)
    for call in (kernel, lambda x: dw.depthwise_conv2d(x, weight, padding=1)):
        call(zeros(1, 4, 5, 5))
        with pytest.raises(ArrayError, match=f"x is dense .{remedy}"):
            call(x)


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.functionalize])
def test_functions_of_arrays_refuse_tensors_that_stand_for_others(transform):
    weight = zeros(4, 1, 3, 3)
    kernel = dw.compile("depthwise c4 hw5 k3 p1").bind(weight)
    x = zeros(2, 1, 4, 5, 5) if transform is torch.func.vmap else zeros(1, 4, 5, 5)
    for call in (kernel, lambda x: dw.depthwise_conv2d(x, weight, padding=1)):
        call(zeros(1, 4, 5, 5))
        with pytest.raises(ArrayError, match="x lies in memory"):
            transform(call)(x)


def test_an_output_whose_elements_share_memory_is_refused():
    x, weight = np.zeros((1, 4, 5, 5), np.float32), np.zeros((4, 1, 3, 3), np.float32)
    out = np.zeros(200, np.float32)
    entangled = np.lib.stride_tricks.as_strided(out, x.shape, (400, 20, 20, 4))
    with pytest.raises(ArrayError, match="memory for each element"):
        dw.depthwise_conv2d(x, weight, padding=1, out=entangled)


@pytest.mark.filterwarnings("ignore:kernels compute")
@pytest.mark.parametrize("padding", [(1, 1), (1,), (0,) * 5], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_operators_take_a_padding_of_four_sides(padding, dtype):
    x, weight, grad = zeros(1, 4, 5, 5), zeros(4, 1, 3, 3), zeros(1, 4, 3, 3)
    x, weight, grad, project = (t.to(dtype) for t in (x, weight, grad, zeros(4, 4, 1, 1)))
    window, nothing = ((1, 1), padding, (1, 1)), (None, None)
    calls = {
        "conv2d": (x, weight, None, *window),
        "conv2d_input_gradient": (grad, weight, (1, 4, 5, 5), *window),
        "conv2d_weight_gradient": (grad, x, (3, 3), *window, False),
        "block": (x, *nothing, weight, None, project, *nothing, *window, None),
    }
    for name, arguments in calls.items():
        with pytest.raises(SpecError, match="the padding of an operator is"):
            getattr(OPERATORS, name)(*arguments)


def test_a_number_of_thousands_of_digits_is_refused_in_words():
    x, weight = zeros(1, 4, 5, 5), zeros(4, 1, 3, 3)
    for stride in (10**6000, (10**6000, np.int64(1))):
        with pytest.raises(SpecError, match="stride is at most 2147483647"):
            dw.depthwise_conv2d(x, weight, stride=stride)
