"""The operators in `torch.ops.depthwise`: derivatives, registration, tracing, transforms."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from depthwise.torch.convolution import conv2d, conv2d_input_gradient, conv2d_weight_gradient
from depthwise.torch.pointwise import pointwise

WINDOWS = {
    "plain": ((1, 1), (0, 0, 0, 0), (1, 1)),
    "padded": ((1, 1), (1, 1, 1, 1), (1, 1)),
    "uneven": ((2, 1), (1, 0, 2, 1), (1, 2)),
}
FORMATS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
windows = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
formats = pytest.mark.parametrize("memory_format", FORMATS.values(), ids=FORMATS)


def tensor(*shape, memory_format=torch.contiguous_format, dtype=torch.float64):
    torch.manual_seed(sum(shape))
    made = torch.randn(*shape, dtype=dtype)
    return made.contiguous(memory_format=memory_format) if len(shape) == 4 else made


def convolved(window, memory_format=torch.contiguous_format, dtype=torch.float64):
    """Return the arguments of each operator for one problem: C = 3, multiplier 2, kernel 3x2."""
    x = tensor(2, 3, 5, 6, memory_format=memory_format, dtype=dtype)
    weight, bias = tensor(6, 1, 3, 2, dtype=dtype), tensor(6, dtype=dtype)
    grad = tensor(*conv2d(x, weight, bias, *window).shape, memory_format=memory_format, dtype=dtype)
    return {
        conv2d: (x, weight, bias, *window),
        conv2d_input_gradient: (grad, weight, tuple(x.shape), *window),
        conv2d_weight_gradient: (grad, x, (3, 2), *window, True),
    }


def mixed(memory_format=torch.contiguous_format, dtype=torch.float64):
    x = tensor(2, 3, 5, 4, memory_format=memory_format, dtype=dtype)
    return x, tensor(4, 3, 1, 1, dtype=dtype), tensor(4, dtype=dtype)


def cases(memory_format=torch.contiguous_format, dtype=torch.float64):
    yield from convolved(WINDOWS["uneven"], memory_format, dtype).items()
    yield pointwise, mixed(memory_format, dtype)


OPERATORS = {
    conv2d: torch.ops.depthwise.conv2d.default,
    conv2d_input_gradient: torch.ops.depthwise.conv2d_input_gradient.default,
    conv2d_weight_gradient: torch.ops.depthwise.conv2d_weight_gradient.default,
    pointwise: torch.ops.depthwise.pointwise.default,
}


def leaves(arguments):
    return [a.detach().requires_grad_() if torch.is_tensor(a) else a for a in arguments]


def flat(results):
    return results if isinstance(results, tuple) else (results,)


def check_derivatives(operator, arguments):
    arguments = leaves(arguments)
    assert gradcheck(operator, arguments)
    outputs = flat(operator(*arguments))
    tensors = [a for a in arguments if torch.is_tensor(a)]
    total = sum(output.square().sum() for output in outputs)
    gradients = torch.autograd.grad(total, tensors, create_graph=True)
    assert all(gradient.requires_grad for gradient in gradients)  # what does not is not checked
    assert gradgradcheck(operator, arguments)


@pytest.mark.parametrize(
    ("window", "memory_format"),
    [
        ("plain", "nchw"),
        ("padded", "channels_last"),
        ("uneven", "nchw"),
        ("uneven", "channels_last"),
    ],
)
def test_first_and_second_derivatives_are_those_of_finite_differences(
    window, memory_format
) -> None:
    window, memory_format = WINDOWS[window], FORMATS[memory_format]
    for operator, arguments in convolved(window, memory_format).items():
        check_derivatives(operator, arguments)


@formats
def test_derivatives_of_the_pointwise_operator(memory_format) -> None:
    check_derivatives(pointwise, mixed(memory_format))


@windows
def test_operators_are_torch_s_convolution_and_its_gradients(window) -> None:
    stride, (top, bottom, left, right), dilation = window
    (x, weight, bias, *_), (grad, *_), _ = convolved(window).values()
    x, weight, bias = leaves((x, weight, bias))
    padded = functional.pad(x, (left, right, top, bottom))
    expected = functional.conv2d(padded, weight, bias, stride, 0, dilation, 3)
    of_x, of_weight, of_bias = torch.autograd.grad(expected, (x, weight, bias), grad)
    calls = convolved(window)
    torch.testing.assert_close(conv2d(*calls[conv2d]), expected.detach())
    input_gradient = conv2d_input_gradient(*calls[conv2d_input_gradient])
    torch.testing.assert_close(input_gradient, of_x)
    both = conv2d_weight_gradient(*calls[conv2d_weight_gradient])
    torch.testing.assert_close(both, (of_weight, of_bias))


@formats
def test_registration_is_complete(memory_format) -> None:
    for operator, arguments in cases(memory_format, torch.float32):
        torch.library.opcheck(OPERATORS[operator], leaves(arguments))


@formats
def test_the_dispatcher_computes_what_a_call_does(memory_format) -> None:
    for operator, arguments in cases(memory_format):
        expected, got = operator(*arguments), OPERATORS[operator](*arguments)
        torch.testing.assert_close(got, expected, rtol=0, atol=0)
        assert [t.stride() for t in flat(got)] == [t.stride() for t in flat(expected)]


@formats
def test_derivatives_through_the_dispatcher_are_those_of_a_call(memory_format) -> None:
    for operator, arguments in cases(memory_format):
        gradients = []
        for function in (operator, OPERATORS[operator]):
            given = leaves(arguments)
            total = sum(output.square().sum() for output in flat(function(*given)))
            tensors = [a for a in given if torch.is_tensor(a)]
            gradients.append(torch.autograd.grad(total, tensors))
        torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_results_lie_as_the_input_does() -> None:
    for memory_format in FORMATS.values():
        for operator, arguments in cases(memory_format):
            if operator is not conv2d_weight_gradient:
                result = operator(*arguments)
                assert result.is_contiguous(memory_format=memory_format)
                assert result.stride() == torch.empty_like(result).stride()


def test_a_gradient_in_another_format_is_converted() -> None:
    x, weight, bias, *window = convolved(WINDOWS["uneven"])[conv2d]
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    output = conv2d(x, weight, bias, *window)
    (gradient,) = torch.autograd.grad(output, x, torch.ones_like(output).contiguous())
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mask", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
@pytest.mark.parametrize("through", [conv2d, OPERATORS[conv2d]], ids=["call", "dispatcher"])
def test_any_subset_may_require_gradients(mask, through) -> None:
    *tensors, stride, padding, dilation = convolved(WINDOWS["uneven"])[conv2d]
    tensors = [t.requires_grad_(bool(wanted)) for t, wanted in zip(tensors, mask, strict=True)]
    through(*tensors, stride, padding, dilation).square().sum().backward()
    assert [t.grad is not None for t in tensors] == [bool(wanted) for wanted in mask]


def test_an_empty_batch_has_empty_results_and_zero_gradients() -> None:
    weight, bias = (leaf.requires_grad_() for leaf in (tensor(6, 1, 3, 2), tensor(6)))
    window = WINDOWS["uneven"]
    x = torch.empty(0, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    output = conv2d(x, weight, bias, *window)
    assert output.shape == (0, *conv2d(tensor(2, 3, 5, 6), weight, bias, *window).shape[1:])
    gradients = torch.autograd.grad(output.sum(), (x, weight, bias))
    assert [g.shape for g in gradients] == [x.shape, weight.shape, bias.shape]
    assert not any(g.any() for g in gradients)
    assert pointwise(x, tensor(4, 3, 1, 1), None).shape == (0, 4, 5, 6)
