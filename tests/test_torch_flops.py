"""Our modules in others' counters of FLOPs: they count what torch's modules do."""

import contextlib
import copy
import io

import pytest
import torch
from ptflops import get_model_complexity_info
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode

import depthwise.torch as dwt
from depthwise.torch import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    InvertedResidual,
    PointwiseConv2d,
    SeparableConv2d,
)
from depthwise.torch.fused import composed
from models import passes


def theirs(module: nn.Module) -> nn.Module:
    """Return what a convolution of ours computes as torch's."""
    return module.to_conv()


class Inverted(nn.Sequential):
    """What an inverted residual of ours computes, made of torch's convolutions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        expand, depthwise, project = self
        return project(F.relu6(depthwise(F.relu6(expand(x))))) + x


SEPARABLE = SeparableConv2d(4, 6, 3, 2, 1, multiplier=2)
INVERTED = InvertedResidual(4, 4, expansion=3)
PAIRS = [
    *(
        (ours, theirs(ours), shape)
        for ours, shape in [
            (DepthwiseConv2d(4, 8, 3, stride=(2, 1), dilation=(1, 2), padding=1), (4, 9, 8)),
            (DepthwiseConv2d(4, 4, 3, padding=1, bias=False, padding_mode="reflect"), (4, 9, 8)),
            (DepthwiseConv1d(4, 4, 5), (4, 9)),
            (PointwiseConv2d(4, 6), (4, 9, 8)),
            (PointwiseConv2d(4, 6, bias=False), (4, 9, 8)),
        ]
    ),
    (SEPARABLE, nn.Sequential(theirs(SEPARABLE.depthwise), theirs(SEPARABLE.pointwise)), (4, 9, 8)),
    (INVERTED, Inverted(*(theirs(part) for part in INVERTED.children())), (4, 9, 8)),
]
both = pytest.mark.parametrize(
    ("ours", "twin", "shape"), PAIRS, ids=[type(ours).__name__ for ours, _, _ in PAIRS]
)


def flops(module: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops()


@both
def test_torchs_counter_counts_the_forward_pass(ours, twin, shape) -> None:
    x = torch.randn(2, *shape)
    with torch.no_grad():
        assert flops(ours.eval(), x) == flops(twin.eval(), x) > 0


@both
@pytest.mark.parametrize("needs", ["input", "weight", "both"])
def test_torchs_counter_counts_the_gradients_that_are_computed(ours, twin, shape, needs) -> None:
    x = torch.randn(2, *shape, requires_grad=needs != "weight")
    module = copy.deepcopy(ours).train().requires_grad_(needs != "input")
    expected = dwt.cost(module, x, backward=True)
    with FlopCounterMode(display=False) as counter:
        module(x).sum().backward()
    assert counter.get_total_flops() == 2 * sum(passes(expected))
    assert expected.input_gradient_macs + expected.weight_gradient_macs >= expected.macs
    if needs == "input":  # torch counts the weight gradient of groups once more for each of them
        same = copy.deepcopy(twin).train().requires_grad_(False)
        with FlopCounterMode(display=False) as torchs:
            same(x).sum().backward()
        assert counter.get_total_flops() == torchs.get_total_flops()


@pytest.mark.parametrize("expanded", [False, True])
def test_a_block_that_is_one_operator_counts_as_its_parts(expanded) -> None:
    x, window = torch.randn(2, 4, 9, 8), ((2, 1), (1, 1, 0, 1), (1, 1))
    wide = 12 if expanded else 4
    expand = (torch.randn(wide, 4, 1, 1), torch.randn(wide)) if expanded else (None, None)
    weights = torch.randn(wide, 1, 3, 3), torch.randn(wide), torch.randn(5, wide, 1, 1), None
    arguments = x, *expand, *weights, None, *window, "relu"
    counts = []
    for call in (torch.ops.depthwise.block, composed):
        with FlopCounterMode(display=False) as counter:
            output = call(*arguments)
        counts.append(counter.get_total_flops())
    (height, width), pixels = output.shape[2:], 9 * 8 * expanded
    macs = 2 * (pixels * 4 * wide + height * width * wide * (9 + 5))
    assert counts == [2 * macs, 2 * macs]
    added = 2 * wide * (pixels + height * width)
    hook = dwt.PTFLOPS_HOOKS[torch.ops.depthwise.block]
    assert hook(arguments, (output,)) == macs + added


def test_an_optimized_network_counts_what_the_network_does() -> None:
    conv = nn.Conv2d(8, 8, 3, groups=8)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), conv, nn.Flatten(), nn.LazyLinear(5))
    x = torch.randn(2, 3, 17, 16)
    model.eval()(x)
    with torch.no_grad():
        assert flops(dwt.optimize(model, x), x) == flops(model, x) > 0


@both
@pytest.mark.parametrize("backend", ["pytorch", "aten"])
def test_ptflops_counts_the_same(ours, twin, shape, backend) -> None:
    counts = []
    for module in (ours, twin):
        with contextlib.redirect_stdout(io.StringIO()):
            counts.append(
                get_model_complexity_info(
                    copy.deepcopy(module), shape, as_strings=False, print_per_layer_stat=False,
                    backend=backend, custom_modules_hooks=dwt.PTFLOPS_HOOKS,
                )
            )  # fmt: skip
    assert counts[0] == counts[1]
    assert counts[0][0] > 0
