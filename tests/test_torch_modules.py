"""The PyTorch modules against `nn.Conv2d`: values, gradients, parameters, formats, errors."""

import copy
import io
import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from depthwise import cost
from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.torch import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    InvertedResidual,
    PointwiseConv2d,
    SeparableConv2d,
    count_parameters,
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
"""torch says so of its own convolution."""
compiling = settings(max_examples=12)
"""An example may compile a kernel."""
PADDING_MODES = ["zeros", "reflect", "replicate", "circular"]


def seeded(make, *args, **options):
    torch.manual_seed(0)
    return make(*args, **options)


def pair(*args, **options):
    """Return our depthwise convolution and torch's, with the same parameters."""
    ours = seeded(DepthwiseConv2d, *args, **options)
    return ours, seeded(nn.Conv2d, *args, groups=args[0], **options)


def assert_same(ours, theirs, x):
    """Assert equal outputs and equal gradients of the input and of every parameter."""
    results = []
    for module in (ours, theirs):
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        output = module(leaf)
        weights = torch.linspace(-1, 1, output.numel(), dtype=x.dtype).reshape(output.shape)
        gradients = torch.autograd.grad((output * weights).sum(), [leaf, *module.parameters()])
        results.append((output, *gradients))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def test_importing_the_package_leaves_torch_alone() -> None:
    code = "import sys, depthwise; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@st.composite
def attributes(draw):
    sizes = st.integers(1, 3)
    options = {
        "kernel_size": draw(st.tuples(st.integers(1, 5), st.integers(1, 5))),
        "stride": draw(sizes | st.tuples(sizes, sizes)),
        "padding": draw(st.integers(0, 3) | st.tuples(st.integers(0, 3), st.integers(0, 3))),
        "dilation": draw(st.integers(1, 2) | st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "bias": draw(st.booleans()),
        "padding_mode": draw(st.sampled_from(PADDING_MODES)),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
    }
    if draw(st.booleans()):
        options["padding"] = draw(st.sampled_from(["same", "valid"]))
        options["stride"] = 1
    return options


@compiling
@given(
    options=attributes(),
    channels=st.integers(1, 18),
    multiplier=st.integers(1, 3),
    shape=st.tuples(st.integers(1, 2), st.integers(4, 11), st.integers(4, 11)),
    channels_last=st.booleans(),
    batched=st.booleans(),
)
def test_depthwise_equals_conv2d(
    options, channels, multiplier, shape, channels_last, batched
) -> None:
    ours, theirs = pair(channels, channels * multiplier, **options)
    x = torch.randn(shape[0], channels, *shape[1:], dtype=options["dtype"])
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x = x if batched else x[0]
    try:
        theirs(x)
    except RuntimeError:  # the kernel or the padding is larger than the image
        assume(False)
    assert_same(ours, theirs, x)


@compiling
@given(
    channels=st.integers(1, 40),
    out_channels=st.integers(1, 40),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    channels_last=st.booleans(),
    batched=st.booleans(),
)
def test_pointwise_equals_conv2d(
    channels, out_channels, bias, dtype, channels_last, batched
) -> None:
    ours = seeded(PointwiseConv2d, channels, out_channels, bias=bias, dtype=dtype)
    theirs = seeded(nn.Conv2d, channels, out_channels, 1, bias=bias, dtype=dtype)
    x = torch.randn(2, channels, 5, 3, dtype=dtype)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    assert_same(ours, theirs, x if batched else x[0])


@pytest.mark.parametrize(
    ("bias", "padding_mode"),
    [
        (True, "zeros"),
        (False, "zeros"),
        (True, "reflect"),
        (False, "replicate"),
        (True, "circular"),
    ],
)
def test_separable_equals_two_conv2d(bias: bool, padding_mode: str) -> None:
    window = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "bias": bias}
    ours = seeded(SeparableConv2d, 6, 10, (3, 2), **window, padding_mode=padding_mode)
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Conv2d(6, 6, (3, 2), **window, padding_mode=padding_mode, groups=6),
        nn.Conv2d(6, 10, 1, bias=bias),
    )
    assert_same(ours, theirs, torch.randn(2, 6, 9, 8))
    assert_same(ours, theirs, torch.randn(6, 9, 8))


def separable_conv2d(bias: bool):
    return {
        "depthwise.weight": (8, 1, 3, 3),
        **({"depthwise.bias": (8,)} if bias else {}),
        "pointwise.weight": (64, 8, 1, 1),
        **({"pointwise.bias": (64,)} if bias else {}),
    }


@pytest.mark.parametrize("bias", [True, False])
def test_state_dict_names_and_shapes(bias: bool) -> None:
    state = SeparableConv2d(8, 64, 3, bias=bias).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == separable_conv2d(bias)


def test_the_same_seed_gives_the_initial_values_of_conv2d() -> None:
    ours, theirs = pair(6, 12, 3)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


def test_a_conv2d_checkpoint_loads() -> None:
    ours, theirs = DepthwiseConv2d(6, 6, 3), nn.Conv2d(6, 6, 3, groups=6)
    ours.load_state_dict(theirs.state_dict())
    assert_same(ours, theirs, torch.randn(1, 6, 5, 5))


def test_a_module_survives_saving_and_copying() -> None:
    module, buffer = SeparableConv2d(6, 10, 3), io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    x = torch.randn(1, 6, 5, 5)
    for twin in (torch.load(buffer, weights_only=False), copy.deepcopy(module)):
        assert torch.equal(twin(x), module(x))


@pytest.mark.parametrize("bias", [True, False])
def test_a_standard_convolution_and_its_separable_counterpart(bias: bool) -> None:
    standard = nn.Conv2d(8, 64, 3, bias=bias)
    separable = SeparableConv2d(8, 64, 3, bias=bias)
    assert count_parameters(standard) == (4_672 if bias else 4_608)
    assert count_parameters(separable) == (656 if bias else 584)
    for kind, module in (("conv", standard), ("separable", separable)):
        text = f"{kind} c8 o64 hw128 k3{' bias' * bias}"
        assert count_parameters(module) == cost(text).params
    x = torch.rand(1, 8, 128, 128)
    assert separable(x).shape == standard(x).shape == (1, 64, 126, 126)


def test_parameters_that_do_not_train_are_counted_on_request() -> None:
    module = SeparableConv2d(8, 64, 3)
    module.depthwise.requires_grad_(False)
    assert count_parameters(module) == 64 * 8 + 64
    assert count_parameters(module, trainable=False) == 656


@pytest.mark.parametrize("mask", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)])
def test_any_subset_may_require_gradients(mask: tuple[int, int, int]) -> None:
    module = DepthwiseConv2d(4, 4, 3, padding=1)
    leaves = [torch.randn(1, 4, 5, 5), module.weight, module.bias]
    for leaf, wanted in zip(leaves, mask, strict=True):
        leaf.requires_grad_(bool(wanted))
    module(leaves[0]).square().sum().backward()
    assert [leaf.grad is not None for leaf in leaves] == [bool(wanted) for wanted in mask]


def test_without_gradients_nothing_is_recorded() -> None:
    with torch.no_grad():
        assert not DepthwiseConv2d(4, 4, 3)(torch.randn(1, 4, 5, 5)).requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (2, 3), "padding": "same", "dilation": (1, 2)},
        {"kernel_size": 3, "stride": (2, 1), "padding": (0, 1)},
        {"kernel_size": 3, "padding": (2, 1), "padding_mode": "reflect"},
        {"kernel_size": (2, 3), "padding": "same", "padding_mode": "circular"},
        {"kernel_size": 3, "padding": 2, "padding_mode": "replicate", "stride": 2},
    ],
    ids=str,
)
def test_first_and_second_derivatives_are_those_of_finite_differences(options) -> None:
    module = DepthwiseConv2d(2, 4, dtype=torch.float64, **options)

    def function(x, weight, bias):
        state = {"weight": weight, "bias": bias}
        return torch.func.functional_call(module, state, (x,))

    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    parameters = [p.detach().requires_grad_() for p in module.parameters()]
    leaves = (x, *parameters)
    assert torch.autograd.gradcheck(function, leaves)
    total = function(*leaves).square().sum()
    gradients = torch.autograd.grad(total, leaves, create_graph=True)
    assert all(gradient.requires_grad for gradient in gradients)  # what does not is not checked
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize(
    "make", [lambda: DepthwiseConv2d(6, 6, 3), lambda: SeparableConv2d(6, 8, 3)]
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_passes_through(make, memory_format) -> None:
    x = torch.randn(2, 6, 7, 5).contiguous(memory_format=memory_format)
    assert make()(x).is_contiguous(memory_format=memory_format)


def test_a_view_at_an_odd_offset_is_taken() -> None:
    ours, theirs = pair(6, 6, 3, padding=1)
    x = torch.randn(2 * 6 * 7 * 5 + 1)[1:].reshape(2, 6, 7, 5)
    assert_same(ours, theirs, x)
    assert_same(ours, theirs, x[..., ::2, 1:])


def test_groups_other_than_the_channels_are_refused() -> None:
    assert DepthwiseConv2d(6, 6, 3, groups=6).groups == 6
    with pytest.raises(SpecError, match=r"groups=1, in_channels=6"):
        DepthwiseConv2d(6, 6, 3, groups=1)


@pytest.mark.parametrize("make", [lambda: DepthwiseConv2d(4, 4, 3), lambda: PointwiseConv2d(4, 5)])
@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.zeros(1, 4, 5, 5, dtype=torch.bfloat16), DTypeError),
        (torch.zeros(1, 4, 5, 5, dtype=torch.int32), DTypeError),
        (torch.zeros(1, 4, 5, 5, dtype=torch.float64), DTypeError),
        (torch.zeros(1, 4, 5, 5, device="meta"), ArrayError),
        (torch.zeros(1, 3, 5, 5), ArrayError),
        (torch.zeros(4, 5), ArrayError),
        (torch.zeros(1, 1, 4, 5, 5), ArrayError),
    ],
    ids=["bfloat16", "int32", "float64 with float32 weights", "meta", "channels", "2-D", "5-D"],
)
def test_what_the_kernels_cannot_take_is_refused(make, x, error) -> None:
    with pytest.raises(error):
        make()(x)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: DepthwiseConv2d(4, 4, 3), [(1, 1, 5, 5), (1, 5, 5), (5, 5), ()]),
        (lambda: DepthwiseConv1d(4, 8, 3), [(1, 1, 5), (1, 5), (5,), (), (1, 4, 1, 5)]),
        (lambda: PointwiseConv2d(4, 4), [(1, 1, 5, 5), (5,)]),
        (lambda: SeparableConv2d(4, 4, 3), [(1, 1, 5, 5), (1, 5, 5), (5,)]),
        (lambda: InvertedResidual(4, 4), [(1, 1, 5, 5), (5,)]),
        (lambda: InvertedResidual(4, 4, expansion=1), [(1, 1, 5, 5), (1, 5, 5), (5,)]),
    ],
)
def test_an_input_of_other_channels_or_axes_is_refused(make, shapes) -> None:
    """Functions take (4, 1, 3, 3) for four filters of a single channel; a module has its own."""
    module = make()
    for shape in shapes:
        with pytest.raises(ArrayError, match=r"an input is \(N, 4, .*\) or \(4, .*; got \("):
            module(torch.zeros(shape))


def test_an_image_smaller_than_the_kernel_is_refused() -> None:
    with pytest.raises(SpecError, match="fits"):
        DepthwiseConv2d(4, 4, 5)(torch.zeros(1, 4, 3, 3))
