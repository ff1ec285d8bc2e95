"""Convolutions in several groups, as several in one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from depthwise.network.grouped import fewest_cycles
from depthwise.network.steps import Stage
from depthwise.problem.spec import ConvSpec
from depthwise.torch import optimize
from onnx_models import checked, left, model, node, noise, port


def kinds(network):
    return [step.work.spec.kind for step in network.program.steps if isinstance(step.work, Stage)]


@pytest.mark.parametrize("taps", [1, 3])
@pytest.mark.parametrize(("groups", "channels", "outputs"), [(2, 64, 96), (3, 48, 144), (4, 8, 8)])
def test_groups_with_their_epilogue_are_kernels(groups, channels, outputs, taps):
    nodes = [node("Conv", "x w b", "a", group=groups, pads=[taps // 2] * 4),
             node("BatchNormalization", "a g h m v", "c"), node("Relu", "c", "y")]  # fmt: skip
    constants = {
        "w": noise(outputs, channels // groups, taps, taps), "b": noise(outputs),
        "g": noise(outputs), "h": noise(outputs), "m": noise(outputs), "v": noise(outputs) ** 2,
    }  # fmt: skip
    network = checked(
        model(nodes, [port("x", (2, channels, 9, 8))], ["y"], constants), noise(2, channels, 9, 8)
    )
    assert left(network) == []
    parts = [kind for kind in kinds(network) if kind != "gather"]
    assert set(parts) == {"pointwise" if taps == 1 else "conv"}
    assert len(parts) == (1 if channels == 8 else groups)


def test_few_channels_of_a_group_are_computed_with_others():
    spec = ConvSpec.conv(64, 64, 28, 3, groups=16, padding=1, layout="NHWC")
    assert fewest_cycles(spec) == 4
    wide = ConvSpec.conv(256, 256, 28, 3, groups=4, padding=1, layout="NHWC")
    assert fewest_cycles(wide) == 4
    small = ConvSpec.conv(64, 64, 1, 1, groups=4, layout="NHWC")
    assert fewest_cycles(small) == 1


def test_weights_that_are_computed_stay_as_they_are():
    nodes = [node("Add", "w w", "v"), node("Conv", "x v", "y", group=2)]
    inputs = [port("x", (1, 8, 6, 5)), port("w", (8, 4, 1, 1))]
    network = checked(model(nodes, inputs, ["y"], {}), noise(1, 8, 6, 5), noise(8, 4, 1, 1))
    assert kinds(network) == []


def test_more_groups_than_a_kernel_gathers_are_concatenated_in_steps():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, 16 * 42, 1), nn.Conv2d(16 * 42, 16 * 42, 3, groups=42))
    net = net.double().eval()
    x = torch.randn(1, 8, 30, 30, dtype=torch.float64)
    fast = optimize(net, x)
    with torch.no_grad():
        np.testing.assert_allclose(fast(x), net(x), rtol=1e-9, atol=1e-12)
    left = {row.problem for row in fast.report.rows if row.plan is None}
    assert left == {"to channels-last"}
