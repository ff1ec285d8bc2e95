"""Whether a network computes what its model does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depthwise.errors import ModelError

ROUNDINGS = 64
"""How many times the rounding of one operation results may differ for each square root of the depth
(errors of independent signs add up like that)."""

_SEED = 0


class Agreement:
    """The results of a model for the example and for random inputs, to hold others against."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...]) -> None:
        self._given, self._random = args, pytree.tree_map(_random_like, args)
        with torch.no_grad():
            self._expected = [
                pytree.tree_leaves(model(*each)) for each in (self._given, self._random)
            ]
        depth = sum(1 for each in model.modules() if getattr(each, "weight", None) is not None)
        eps = max(
            (torch.finfo(each.dtype).eps for each in self._expected[0] if _is_real(each)),
            default=0.0,
        )
        self.tolerance = ROUNDINGS * eps * math.sqrt(max(depth, 1))

    def differences(self, fast: Callable[..., Any]) -> dict[str, float]:
        """Return the fields of a report that compare results.

        Raises:
            ModelError: they differ in shape, or by more than rounding explains.
        """
        found = []
        for args, expected in zip((self._given, self._random), self._expected, strict=True):
            with torch.no_grad():
                results = pytree.tree_leaves(fast(*args))
            found.append(max(map(_difference, expected, results), default=0.0))
        if len(results) != len(expected) or not max(found) <= self.tolerance:
            raise ModelError(
                "the network computes what the model does, but for rounding (difference relative "
                f"to the largest output at most {self.tolerance:.1e}); got {max(found):.1e}"
            )
        return {
            "largest_difference_given": found[0],
            "largest_difference_random": found[1],
            "tolerance": self.tolerance,
        }


def _random_like(value: Any) -> Any:
    if not _is_real(value):
        return value
    generator = torch.Generator().manual_seed(_SEED)
    return torch.randn(value.shape, dtype=value.dtype, generator=generator)


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _difference(expected: Any, result: Any) -> float:
    """Return the largest difference relative to the largest element; infinite where they differ.

    (Whole numbers are indices of what is nearly equal as a rule: they are not held against.)
    """
    if not _is_real(expected):
        return 0.0 if type(expected) is type(result) else math.inf
    if not _is_real(result) or result.shape != expected.shape:
        return math.inf
    apart = torch.where(expected.isnan() & result.isnan(), 0, (expected - result).abs())
    if not expected.numel():
        return 0.0
    largest = expected[expected.isfinite()].abs().max() if expected.isfinite().any() else 1.0
    return float(apart.nan_to_num(math.inf).max() / max(float(largest), 1e-30))
