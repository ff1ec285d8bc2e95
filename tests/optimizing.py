"""What the tests of `optimize` share: models, and how networks are held against them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def depthwise(channels: int, kernel: int = 3, **how: Any) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, groups=channels, **{"padding": kernel // 2, **how})


def pointwise(channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, 1)


class Model(nn.Module):
    """Computes `forward(self, x)` with copies of some modules."""

    def __init__(self, forward: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        self._forward = forward
        for name, module in modules.items():
            setattr(self, name, copy.deepcopy(module))

    def forward(self, x: Tensor) -> Any:
        return self._forward(self, x)


def random_(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model random parameters and statistics of norms, and put it in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


def check(model: nn.Module, fast: nn.Module, *args: Any) -> None:
    """Fail where an optimized network returns something else than its model."""
    with torch.no_grad():
        expected, result = model(*args), fast(*args)
    wanted, structure = pytree.tree_flatten(expected)
    found, same = pytree.tree_flatten(result)
    assert structure == same
    for each, other in zip(wanted, found, strict=True):
        close(other, each)


def close(result: Any, expected: Any) -> None:
    """Fail where a result differs by more than rounding."""
    if not isinstance(expected, Tensor) or not expected.is_floating_point():
        torch.testing.assert_close(result, expected, rtol=0, atol=0)
        return
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    tolerance = 400 * torch.finfo(expected.dtype).eps * largest
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance)


def kinds(fast: nn.Module) -> Counter:
    """Return how many stages of each kind a network has."""
    return Counter(stage.kind for stage in fast.network.kernels())


def left_to_torch(fast: nn.Module) -> set[str]:
    """Return the names of the operators that torch computes."""
    rows = [row for row in fast.report.rows if row.kind == "torch" and row.name != "(input)"]
    names = {row.problem.removeprefix("aten.").partition(".")[0] for row in rows}
    return names - {"sym_size"}
