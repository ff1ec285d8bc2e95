"""Blocks: one operator with its derivatives, and the modules made of it."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from depthwise.errors import SpecError
from depthwise.functions import blocks
from depthwise.problem.vocabulary import ACTIVATIONS
from depthwise.torch import InvertedResidual, SeparableConv2d
from depthwise.torch.activations import activate
from depthwise.torch.fused import block, composed

FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
formats = pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)


def arguments(activation, memory_format=torch.contiguous_format, expand=True, dtype=torch.float64):
    """Return those of `block`: C = 2, expanded to 3, multiplier 2, back to 2, with a residual."""
    torch.manual_seed(0)
    shapes = [(1, 2, 3, 3), (3, 2, 1, 1), (3,), (6, 1, 2, 2), (6,), (2, 6, 1, 1), (2,)]
    if not expand:
        shapes[3:6] = [(4, 1, 2, 2), (4,), (2, 4, 1, 1)]
    tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
    tensors[0] = tensors[0].contiguous(memory_format=memory_format)
    if not expand:
        tensors[1:3] = [None, None]
    tensors = [tensor if tensor is None else tensor.requires_grad_() for tensor in tensors]
    return *tensors, tensors[0], (1, 1), (1, 0, 0, 1), (1, 1), activation


def gradients(function, given):
    leaves = [a for a in dict.fromkeys(given) if torch.is_tensor(a)]
    output = function(*given)
    return output, torch.autograd.grad(output.square().sum(), leaves)


@pytest.mark.parametrize("expand", [True, False], ids=["expanded", "not"])
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_a_block_is_its_parts_one_after_the_other(activation, expand) -> None:
    for memory_format in FORMATS.values():
        given = arguments(activation, memory_format, expand)
        torch.testing.assert_close(gradients(block, given), gradients(composed, given))


@formats
@pytest.mark.parametrize("expand", [True, False], ids=["expanded", "not"])
def test_tensors_that_lie_as_kernels_take_them_go_to_the_kernel(
    expand, memory_format, monkeypatch
) -> None:
    monkeypatch.setattr(blocks, "inverted_residual", None)
    monkeypatch.setattr(blocks, "separable_conv2d", None)
    given = arguments("relu", memory_format, expand)
    for _ in range(2):
        output = block(*given)
        torch.testing.assert_close(output, composed(*given))
        assert output.is_contiguous(memory_format=memory_format)


def test_what_lies_otherwise_is_copied() -> None:
    x, *others, residual, stride, padding, dilation, activation = arguments("relu")
    project = others[4].detach().transpose(0, 1).contiguous().transpose(0, 1)
    residual = residual.detach().contiguous(memory_format=torch.channels_last)
    given = x, *others[:4], project, others[5], residual, stride, padding, dilation, activation
    torch.testing.assert_close(block(*given), composed(*given))


@pytest.mark.parametrize("call", [block, torch.ops.depthwise.block], ids=["called", "dispatched"])
def test_a_bias_of_an_expansion_that_is_not_there_is_refused(call) -> None:
    x, *others = arguments("relu", expand=False)
    with pytest.raises(SpecError, match="an expand_bias needs an expansion"):
        call(x, None, torch.ones(2, dtype=x.dtype), *others[2:])


@pytest.mark.parametrize("activation", ["relu6", "silu", "hardsigmoid"])
def test_first_and_second_derivatives_are_those_of_finite_differences(activation) -> None:
    given = arguments(activation, torch.channels_last)
    assert gradcheck(block, given)
    assert gradgradcheck(block, given)


@formats
def test_registration_is_complete(memory_format) -> None:
    given = arguments("relu6", memory_format, dtype=torch.float32)
    torch.library.opcheck(torch.ops.depthwise.block.default, given)


@pytest.mark.parametrize("expand", [True, False], ids=["expanded", "not"])
def test_any_subset_may_require_gradients(expand) -> None:
    given = arguments("relu", expand=expand)
    tensors = [a for a in dict.fromkeys(given) if torch.is_tensor(a)]
    _, expected = gradients(block, given)
    for wanted, gradient in zip(tensors, expected, strict=True):
        for tensor in tensors:
            tensor.requires_grad_(tensor is wanted)
        (got,) = torch.autograd.grad(block(*given).square().sum(), [wanted])
        torch.testing.assert_close(got, gradient)


def torch_s(module):
    """Return what an `InvertedResidual` computes, by torch's functions."""

    def function(x):
        wide = x
        if module.expand is not None:
            wide = functional.conv2d(x, module.expand.weight, module.expand.bias)
            wide = activate(wide, module.activation)
        conv = module.depthwise
        window = conv.stride, conv.padding, conv.dilation, conv.groups
        wide = functional.conv2d(wide, conv.weight, conv.bias, *window)
        wide = activate(wide, module.activation)
        output = functional.conv2d(wide, module.project.weight, module.project.bias)
        return output + x if module.residual else output

    return function


def assert_same(ours, theirs, x, parameters) -> None:
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))
    results = []
    for function in (ours, theirs):
        leaf = x.detach().requires_grad_()
        output = function(leaf)
        results.append((output, torch.autograd.grad(output.square().sum(), [leaf, *parameters])))
    torch.testing.assert_close(*results)


INVERTED = {
    "mobilenet": {"in_channels": 4, "out_channels": 4},
    "narrower": {"in_channels": 4, "out_channels": 3, "expansion": 1.5, "activation": "silu"},
    "strided": {"in_channels": 4, "out_channels": 4, "stride": 2, "kernel_size": 5},
    "not expanded": {"in_channels": 4, "out_channels": 4, "expansion": 1, "activation": None},
    "smaller": {"in_channels": 4, "out_channels": 4, "padding": (0, 1), "bias": False},
    "same": {"in_channels": 4, "out_channels": 4, "padding": "same", "kernel_size": (2, 5)},
}


@pytest.mark.parametrize(
    ("name", "layout"),
    [("mobilenet", "nchw"), ("mobilenet", "channels_last"), ("narrower", "channels_last"),
     ("strided", "nchw"), ("strided", "channels_last"), ("not expanded", "nchw"),
     ("smaller", "channels_last"), ("same", "nchw")],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_an_inverted_residual_computes_what_torch_does(name, layout) -> None:
    torch.manual_seed(0)
    module, memory_format = InvertedResidual(**INVERTED[name], dtype=torch.float64), FORMATS[layout]
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64).contiguous(memory_format=memory_format)
    assert_same(module, torch_s(module), x, list(module.parameters()))
    assert module(x).is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(module(x[0]), module(x)[0])


def test_the_input_is_added_where_every_output_has_its_shape() -> None:
    added = {name: InvertedResidual(**options).residual for name, options in INVERTED.items()}
    assert [name for name, residual in added.items() if residual] == [
        "mobilenet", "not expanded", "same",
    ]  # fmt: skip


def test_an_activation_is_a_known_one() -> None:
    with pytest.raises(SpecError, match="activation is one of"):
        InvertedResidual(4, 4, activation="tanh")


def test_the_names_of_parameters() -> None:
    names = ["weight", "bias"]
    parts = ["expand", "depthwise", "project"]
    assert [*InvertedResidual(4, 4).state_dict()] == [f"{p}.{n}" for p in parts for n in names]
    assert "expand.weight" not in InvertedResidual(4, 4, expansion=1).state_dict()


@pytest.mark.parametrize("make", [InvertedResidual, SeparableConv2d])
def test_a_block_survives_saving_and_copying(make) -> None:
    module, buffer = make(6, 6, 3), io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    x = torch.randn(1, 6, 5, 5)
    for twin in (torch.load(buffer, weights_only=False), copy.deepcopy(module)):
        assert torch.equal(twin(x), module(x))


@pytest.mark.parametrize(
    ("multiplier", "padding_mode"),
    [(1, "zeros"), (2, "zeros"), (2, "reflect"), (1, "replicate"), (2, "circular")],
)
def test_a_separable_convolution_computes_what_torch_does(padding_mode, multiplier) -> None:
    torch.manual_seed(0)
    window = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    module = SeparableConv2d(
        4, 5, (3, 2), **window, padding_mode=padding_mode, multiplier=multiplier,
        dtype=torch.float64,
    )  # fmt: skip
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    assert_same(module, module.to_conv(), x, list(module.parameters()))
    torch.testing.assert_close(module(x[0]), module(x)[0])


@pytest.mark.parametrize("make", [InvertedResidual, SeparableConv2d])
def test_hooks_of_the_submodules_are_called(make) -> None:
    module, x, called = make(4, 4, 3), torch.randn(1, 4, 5, 5), []
    expected = module(x)
    for name, part in module.named_children():
        part.register_forward_hook(lambda *_, name=name: called.append(name))
    torch.testing.assert_close(module(x), expected)
    assert called == [name for name, _ in module.named_children()]


def test_submodules_may_be_replaced() -> None:
    module = SeparableConv2d(4, 4, 3)
    module.pointwise = nn.Sequential(module.pointwise, nn.ReLU())
    assert (module(torch.randn(1, 4, 5, 5)) >= 0).all()


def test_separable_convolutions_are_converted_and_back() -> None:
    depthwise, pointwise = nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 5, 1)
    module = SeparableConv2d.from_conv(depthwise, pointwise).eval()
    back, x = module.to_conv(), torch.randn(1, 4, 5, 5)
    assert module.depthwise.weight is depthwise.weight is back.depthwise.weight
    assert not back.training
    assert not back.pointwise.training
    torch.testing.assert_close(module(x), pointwise(depthwise(x)))
    torch.testing.assert_close(back(x), module(x))
    assert [*back.state_dict()] == [*module.state_dict()]
    with pytest.raises(SpecError, match="takes what the depthwise one gives"):
        SeparableConv2d.from_conv(depthwise, nn.Conv2d(4, 5, 1))


@pytest.mark.parametrize(("kernel", "times"), [(3, 1), (5, 2)])
def test_small_depthwise_parts_are_computed_again_in_the_backward_pass(kernel, times) -> None:
    module = InvertedResidual(8, 8, kernel, activation="relu")
    x = torch.randn(2, 8, 6, 6)
    kept: dict[int, int] = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(x)
    expanded = 2 * 48 * 36
    assert [size for size in kept.values() if size >= expanded] == [expanded] * times
