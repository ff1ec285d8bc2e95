"""What the tests of `optimize` share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

SIZE = 32


def images(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


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
    if not isinstance(expected, Tensor) or not expected.is_floating_point():
        torch.testing.assert_close(result, expected, rtol=0, atol=0)
        return
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    tolerance = 400 * torch.finfo(expected.dtype).eps * largest
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance, equal_nan=True)


def kinds(fast: nn.Module) -> Counter:
    """Return how many stages of each kind a network has."""
    return Counter(stage.kind for stage in fast.network.kernels())


def left_to_torch(fast: nn.Module) -> set[str]:
    """Return the names of the operators that torch computes."""
    rows = [row for row in fast.report.rows if row.kind == "torch" and row.name != "(input)"]
    return {row.problem.removeprefix("aten.").partition(".")[0] for row in rows}
