"""What the tests of `optimize` share."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

SIZE = 32


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def check(model: nn.Module, fast: nn.Module, *args: Tensor) -> None:
    """Fail where an optimized network returns something else than its model."""
    with torch.no_grad():
        expected, result = model(*args), fast(*args)
    close(result, expected)


def close(result: Tensor, expected: Tensor) -> None:
    largest = float(expected.abs().max())
    tolerance = 2000 * torch.finfo(expected.dtype).eps * largest
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance)


def kinds(fast: nn.Module) -> Counter:
    """Return how many stages of each kind a network has."""
    return Counter(stage.kind for stage in fast.network.kernels())
