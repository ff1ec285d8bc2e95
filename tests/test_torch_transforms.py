"""What watches the operators: compilers, exporters, autocast, `torch.func`, other tensors."""

import warnings

import pytest
import torch
from torch import nn

from depthwise.errors import ArrayError, DTypeError
from depthwise.torch import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    InvertedResidual,
    SeparableConv2d,
    fallback,
)
from depthwise.torch.convolution import conv2d, conv2d_input_gradient, conv2d_weight_gradient
from depthwise.torch.fused import block
from depthwise.torch.pointwise import pointwise

WINDOW = ((2, 1), (1, 0, 2, 1), (1, 2))


class Network(nn.Sequential):
    """Every kind of module."""

    def __init__(self) -> None:
        super().__init__(
            DepthwiseConv2d(4, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            SeparableConv2d(8, 6, (2, 3), padding="same", padding_mode="circular"),
            InvertedResidual(6, 6, activation="silu"),
            nn.Flatten(2),
            DepthwiseConv1d(6, 6, 4, padding="causal"),
        )


def parts_of(module, x):
    output = module(x)
    gradients = torch.autograd.grad(output.square().mean(), [*module.parameters()])
    return output, gradients


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_network_compiles_as_one_graph_and_trains(memory_format) -> None:
    torch.manual_seed(0)
    network = Network().double()
    x = torch.randn(2, 4, 9, 8, dtype=torch.float64).contiguous(memory_format=memory_format)
    expected = parts_of(network, x)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(parts_of(compiled, x), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_is_exported_with_any_batch() -> None:
    network = Network().eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    example = (torch.randn(3, 4, 9, 8),)
    exported = torch.export.export(network, example, dynamic_shapes=({0: batch},))
    names = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert {"depthwise.conv2d.default", "depthwise.block.default"} <= names
    x = torch.randn(5, 4, 9, 8)
    torch.testing.assert_close(exported.module()(x), network(x))


def test_autocast_computes_in_float32() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), DepthwiseConv2d(4, 4, 3), SeparableConv2d(4, 4, 3))
    x = torch.randn(1, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = network[0](x)
        output = network(x)
    assert narrow.dtype == torch.bfloat16
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, network[1:](narrow.float()))
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def examples():
    """Yield each operator with arguments, its tensors with an axis of three to map."""
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 2, 2, 5, 6), torch.randn(3, 4, 1, 3, 2), torch.randn(3, 4)
    grad = torch.randn(3, *conv2d(x[0], weight[0], bias[0], *WINDOW).shape)
    mix = torch.randn(3, 2, 4, 1, 1)
    yield conv2d, (x, weight, bias), WINDOW
    yield conv2d_input_gradient, (grad, weight), ((2, 2, 5, 6), *WINDOW)
    yield conv2d_weight_gradient, (grad, x), ((3, 2), *WINDOW, True)
    yield conv2d_weight_gradient, (grad, x), ((3, 2), *WINDOW, False)
    yield pointwise, (x, mix.transpose(1, 2), bias), ()
    widen, filters = torch.randn(3, 4, 2, 1, 1), torch.randn(3, 4, 1, 3, 3)
    tensors = (x, widen, bias, filters, bias, mix, bias[:, :2], x)
    yield block, tensors, ((1, 1), (1, 1, 1, 1), (1, 1), "relu6")


@pytest.mark.parametrize("index", range(6))
def test_every_operator_is_mapped_over_any_of_its_tensors(index) -> None:
    operator, tensors, others = [*examples()][index]
    subsets = [[i == j for j in range(len(tensors))] for i in range(len(tensors))]
    for mapped in [*subsets, [True] * len(tensors)]:
        given = [t if m else t[0] for t, m in zip(tensors, mapped, strict=True)]
        dims = tuple(0 if m else None for m in mapped)
        got = torch.vmap(lambda *t: operator(*t, *others), in_dims=dims)(*given)
        one_by_one = [
            operator(*[t[i] if m else t for t, m in zip(given, mapped, strict=True)], *others)
            for i in range(3)
        ]
        expected = (
            torch.stack(one_by_one)
            if torch.is_tensor(got)
            else tuple(map(torch.stack, zip(*one_by_one, strict=True)))
        )
        torch.testing.assert_close(got, expected)


def test_gradients_of_each_example_are_those_of_one_after_the_other() -> None:
    module = SeparableConv2d(3, 4, 3, dtype=torch.float64)
    parameters, x = dict(module.named_parameters()), torch.randn(5, 3, 6, 6, dtype=torch.float64)

    def loss(parameters, image):
        return torch.func.functional_call(module, parameters, (image[None],)).square().sum()

    got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    expected = [torch.func.grad(loss)(parameters, image) for image in x]
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, torch.stack([one[name] for one in expected]))
        plain = torch.autograd.grad(loss(parameters, x[0]), parameters[name])[0]
        torch.testing.assert_close(gradient[0], plain.detach())


def test_second_derivatives_by_torch_func() -> None:
    x, weight = torch.randn(1, 2, 3, 3).double(), torch.randn(2, 1, 2, 2).double()

    def loss(function):
        return lambda weight: function(x, weight, None, (1, 1), *rest[function]).pow(3).sum()

    rest = {conv2d: ((0, 0, 0, 0), (1, 1)), nn.functional.conv2d: (0, 1, 2)}
    ours, theirs = (
        torch.func.jacrev(torch.func.jacrev(loss(function)))(weight) for function in rest
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forward_mode_is_refused() -> None:
    x, weight = torch.randn(1, 2, 3, 3), torch.randn(2, 1, 2, 2)

    def function(x):
        return conv2d(x, weight, None, (1, 1), (0, 0, 0, 0), (1, 1))

    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(function, (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        with pytest.raises(NotImplementedError, match="jvp"):
            function(dual)


def test_inference_mode_makes_inference_tensors() -> None:
    network, x = Network().eval(), torch.randn(1, 4, 9, 8)
    expected = network(x)
    with torch.inference_mode():
        output = network(x)
    assert output.is_inference()
    torch.testing.assert_close(output, expected.detach())


@pytest.fixture
def nothing_said(monkeypatch):
    monkeypatch.setattr(fallback, "_said", set())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_types_are_computed_with_sums_of_float32(dtype) -> None:
    network = SeparableConv2d(3, 4, 3, padding=1, padding_mode="reflect", dtype=dtype)
    x = torch.randn(1, 3, 6, 6, dtype=dtype)
    got = parts_of(network, x)  # which calls three operators
    output, gradients = got
    assert {each.dtype for each in (output, *gradients)} == {dtype}
    torch.testing.assert_close(got, parts_of(network.to_conv(), x), rtol=1e-2, atol=1e-2)


def test_tensors_without_memory_have_shapes_alone() -> None:
    with torch.device("meta"):
        network = Network()
        output = network(torch.randn(2, 4, 9, 8))
    assert output.device.type == "meta"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert output.shape == Network()(torch.randn(2, 4, 9, 8)).shape


@pytest.mark.parametrize("operator", [conv2d, torch.ops.depthwise.conv2d])
def test_tensors_that_do_not_go_together_are_refused(operator, nothing_said) -> None:
    x, weight = torch.randn(1, 2, 3, 3), torch.randn(2, 1, 2, 2)
    window = (1, 1), (0, 0, 0, 0), (1, 1)
    with pytest.raises(DTypeError, match="dtype"):
        operator(x, weight.double(), None, *window)
    with pytest.raises(DTypeError, match="dtype"):
        operator(x.long(), weight.long(), None, *window)
    operator(x, weight, None, *window)  # which prepares a call for tensors of these shapes
    with pytest.raises(ArrayError):
        operator(x, weight.to("meta"), None, *window)
    with pytest.raises(ArrayError, match="multiplier"):
        operator(x.to("meta"), torch.randn(3, 1, 2, 2, device="meta"), None, *window)
