"""From torch's modules and back, torch's own cases of depthwise convolutions, threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from depthwise.errors import SpecError
from depthwise.torch import DepthwiseConv1d, DepthwiseConv2d, PointwiseConv2d

with pytest.MonkeyPatch.context() as patch:  # what freezes torch's flags for the whole process
    patch.setattr(torch.backends, "disable_global_flags", lambda: None)
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_nn import get_new_module_tests

CONVS = {
    "2-D": (DepthwiseConv2d, nn.Conv2d(4, 8, (3, 2), (2, 1), (1, 0), (1, 2), 4)),
    "same": (DepthwiseConv2d, nn.Conv2d(4, 4, 3, padding="same", groups=4, bias=False)),
    "reflect": (DepthwiseConv2d, nn.Conv2d(4, 4, 3, padding=2, groups=4, padding_mode="reflect")),
    "1-D": (DepthwiseConv1d, nn.Conv1d(4, 8, 3, 2, 1, 2, 4)),
    "1-D circular": (DepthwiseConv1d, nn.Conv1d(4, 4, 3, padding=1, groups=4,
                                                padding_mode="circular")),
    "pointwise": (PointwiseConv2d, nn.Conv2d(4, 6, 1)),
    "float64": (PointwiseConv2d, nn.Conv2d(4, 6, 1, bias=False, dtype=torch.float64)),
}  # fmt: skip
TORCH_S = {
    case["fullname"]: case
    for case in get_new_module_tests()
    if case.get("fullname", "").startswith("Conv2d_depthwise")
}


def example(conv):
    shape = (2, conv.in_channels, *(7, 8)[: len(conv.kernel_size)])
    return torch.randn(shape, dtype=conv.weight.dtype)


def assert_same(ours, theirs, x) -> None:
    results = []
    for module in (ours, theirs):
        leaf = x.detach().clone().requires_grad_()
        output = module(leaf)
        leaves = [leaf, *module.parameters()]
        results.append((output, torch.autograd.grad(output.square().sum(), leaves)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(("kind", "conv"), CONVS.values(), ids=CONVS)
def test_a_convolution_is_converted_and_back(kind, conv) -> None:
    module = kind.from_conv(conv.eval())
    back = module.to_conv()
    assert type(module) is kind
    assert type(back) is type(conv)
    assert module.weight is conv.weight is back.weight
    assert module.bias is conv.bias is back.bias
    assert not module.training
    assert repr(back) == repr(conv)
    assert [*module.state_dict()] == [*conv.state_dict()]
    assert_same(module, conv, example(conv))


REFUSED = [
    (DepthwiseConv2d, nn.Conv2d(4, 4, 3), "groups=in_channels"),
    (DepthwiseConv2d, nn.Conv1d(4, 4, 3, groups=4), "nn.Conv2d"),
    (DepthwiseConv2d, nn.ConvTranspose2d(4, 4, 3, groups=4), "ConvTranspose2d"),
    (DepthwiseConv1d, nn.Conv2d(4, 4, 3, groups=4), "nn.Conv1d"),
    (PointwiseConv2d, nn.Conv2d(4, 4, 3), "1x1"),
    (PointwiseConv2d, nn.Conv2d(4, 4, 1, stride=2), "1x1"),
    (PointwiseConv2d, nn.Conv2d(4, 4, 1, groups=2), "1x1"),
    (PointwiseConv2d, nn.Linear(4, 4), "Linear"),
]


@pytest.mark.parametrize(("kind", "module", "reason"), REFUSED)
def test_what_is_something_else_is_refused(kind, module, reason) -> None:
    with pytest.raises(SpecError, match=reason):
        kind.from_conv(module)


def test_a_parametrized_convolution_is_refused() -> None:
    conv = nn.Conv2d(4, 4, 3, groups=4)
    parametrize.register_parametrization(conv, "weight", nn.Identity())
    with pytest.raises(SpecError, match="parametrization"):
        DepthwiseConv2d.from_conv(conv)


def test_a_causal_convolution_is_not_torch_s() -> None:
    module = DepthwiseConv1d(4, 4, 3, padding="causal")
    assert "padding=causal" in repr(module)
    with pytest.raises(SpecError, match="causal"):
        module.to_conv()
    x = torch.randn(2, 4, 9)
    shifted = nn.functional.conv1d(
        nn.functional.pad(x, (2, 0)), module.weight, module.bias, groups=4
    )
    torch.testing.assert_close(module(x), shifted)


def test_a_transposed_sequence_is_computed_as_it_lies() -> None:
    module, x = DepthwiseConv1d(4, 4, 3), torch.randn(2, 9, 4).transpose(1, 2)
    assert module(x).transpose(1, 2).is_contiguous()
    torch.testing.assert_close(module(x), module(x.contiguous()))


@pytest.mark.parametrize("case", TORCH_S.values(), ids=TORCH_S)
def test_torch_s_own_module_cases(case) -> None:
    conv = case["constructor"]().to(case["default_dtype"])
    x = torch.randn(case["input_size"], dtype=case["default_dtype"])
    assert_same(DepthwiseConv2d.from_conv(conv), conv, x)


@pytest.mark.parametrize("name", ["nn.functional.conv1d", "nn.functional.conv2d"])
def test_torch_s_own_operator_cases(name) -> None:
    info = next(op for op in op_db if op.name == name)
    kind, made = {
        "nn.functional.conv1d": (DepthwiseConv1d, nn.Conv1d),
        "nn.functional.conv2d": (DepthwiseConv2d, nn.Conv2d),
    }[name]
    computed = 0
    for sample in info.sample_inputs("cpu", torch.float64):
        weight, bias, *_ = (*sample.args, None)
        groups = sample.kwargs.get("groups", 1)
        channels = sample.input.shape[1 - (sample.input.dim() == weight.dim() - 1)]
        if groups != channels:
            continue
        window = {k: v for k, v in sample.kwargs.items() if k in ("stride", "padding", "dilation")}
        sizes = channels, weight.shape[0], tuple(weight.shape[2:])
        conv = made(*sizes, groups=groups, bias=bias is not None, dtype=torch.float64, **window)
        assert_same(kind.from_conv(conv), conv, sample.input)
        computed += 1
    assert computed


def test_threads_of_python_compute_side_by_side() -> None:
    module = DepthwiseConv2d(8, 8, 3, padding=1)
    images = [torch.randn(1, 8, 9, 9) for _ in range(32)]

    def step(x):
        output = module(x)
        return output, torch.autograd.grad(output.square().sum(), module.weight)

    expected = [step(x) for x in images]
    with ThreadPoolExecutor(4) as pool:
        torch.testing.assert_close([*pool.map(step, images)], expected)
