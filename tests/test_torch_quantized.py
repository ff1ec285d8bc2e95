"""Networks as PT2E writes them, with operators of `quantized_decomposed`."""

from __future__ import annotations

import numpy as np
import torch
import torch.ao.quantization.fx._decomposed
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import depthwise as dw
import depthwise.torch as dwt
from depthwise.network.steps import Stage

ops = torch.ops.quantized_decomposed
UINT8 = 0, 255, torch.uint8


def rounded(x: Tensor, scale: float, zero: int) -> Tensor:
    """Return real numbers behind a rounding to numbers of 8 bits."""
    whole = ops.quantize_per_tensor(x, scale, zero, *UINT8)
    return ops.dequantize_per_tensor(whole, scale, zero, *UINT8)


class Layer(nn.Module):
    """A convolution whose weights are whole numbers, and the rounding of its result."""

    def __init__(self, inputs: int, outputs: int, kernel: int, scale: float, groups: int = 1):
        super().__init__()
        generator = torch.Generator().manual_seed(outputs)
        shape = (outputs, inputs // groups, kernel, kernel)
        whole = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
        self.register_buffer("whole", whole)
        self.register_buffer("scales", torch.rand(outputs, generator=generator) / 1000 + 1e-4)
        self.register_buffer("zeros", torch.zeros(outputs, dtype=torch.int64))
        self.bias = nn.Parameter(torch.randn(outputs, generator=generator) / 10)
        self.scale, self.groups, self.padding = scale, groups, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        given = self.whole, self.scales, self.zeros, 0, -128, 127, torch.int8
        weight = ops.dequantize_per_channel(*given)
        y = F.conv2d(x, weight, self.bias, padding=self.padding, groups=self.groups)
        return rounded(torch.relu(y), self.scale, 0)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Layer(3, 16, 3, 0.01), Layer(16, 16, 3, 0.01, groups=16), Layer(16, 24, 1, 0.01)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(rounded(x, 0.03, 128))


def kinds(net: dw.Network) -> list[str]:
    return [step.work.spec.kind for step in net.program.steps if isinstance(step.work, Stage)]


def test_a_quantized_network_is_computed_with_whole_numbers() -> None:
    model, x = Net().eval(), torch.randn(2, 3, 12, 12)
    fast = dwt.optimize(model, (x,))
    with torch.no_grad():
        expected, found = model(x), fast(x)
    units = np.rint((found - expected).numpy() / 0.01)
    assert np.abs(units).max() <= 1
    assert np.count_nonzero(units) <= units.size // 1000
    assert kinds(fast.network) == ["quantize", "conv", "depthwise", "pointwise", "dequantize"]


def test_an_exported_model_has_no_mode() -> None:
    """torch.export's modules say that they train, and .eval() is refused."""
    x = torch.randn(2, 3, 12, 12)
    exported = torch.export.export(Net().eval(), (x,)).module()
    assert exported.training
    fast = dwt.optimize(exported, (x,))
    assert fast.network.program.is_quantized


def test_a_rounding_to_fewer_numbers_than_the_type_has_stays_torchs() -> None:
    class Reduced(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            whole = ops.quantize_per_tensor(x, 0.03, 64, 0, 127, torch.uint8)
            return ops.dequantize_per_tensor(whole, 0.03, 64, 0, 127, torch.uint8) + 1

    model, x = Reduced().eval(), torch.randn(2, 3, 12, 12)
    fast = dwt.optimize(model, (x,))
    torch.testing.assert_close(fast(x), model(x))
    assert "quantize" not in kinds(fast.network)
