"""Whether a network computes what its model does."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from depthwise.errors import DepthwiseError, ModelError
from depthwise.network.agreement import FARTHEST, NETWORKS_OWN, tolerance
from depthwise.torch.network.tracing import Trace

_SEED = 1  # not 0, with which people draw their examples


class Agreement:
    """The results of a model for the example and for random inputs, to hold others against."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...]) -> None:
        self._model = model
        generator = torch.Generator().manual_seed(_SEED)
        self._inputs = args, pytree.tree_map(lambda each: _random_like(each, generator), args)
        self._expected = [_results(model, each) for each in self._inputs]
        depth = sum(1 for each in model.modules() if getattr(each, "weight", None) is not None)
        eps = max(
            (torch.finfo(each.dtype).eps for each in self._expected[0] if _is_real(each)),
            default=0.0,
        )
        self.tolerance = tolerance(depth, eps)

    def differences(self, fast: Callable[..., Any], *, quantized: bool = False) -> dict[str, float]:
        """Return the fields of a report that compare results.

        Args:
            fast: what computes the same.
            quantized: whether results are rounded to few numbers on their way; see `granted`.

        Raises:
            ModelError: they differ in shape, or by more than rounding explains; or the model's own
                do from call to call.
        """
        try:
            found = self._distances(fast)
        except DepthwiseError:
            raise
        except Exception as error:  # whatever torch's operators raise
            raise ModelError(
                f"the network computes what the model does; got {type(error).__name__}: {error}"
            ) from error
        if quantized:
            self.tolerance = FARTHEST
        if max(found) > self.tolerance:
            self._check_repeatable()
            self.tolerance = max(self.tolerance, NETWORKS_OWN * self._models_own())
        if not max(found) <= self.tolerance:
            raise ModelError(
                "the network computes what the model does, but for rounding (difference relative "
                f"to the largest output at most {self.tolerance:.1e}); got {max(found):.1e}"
            )
        return {
            "largest_difference_given": found[0],
            "largest_difference_random": found[1],
            "tolerance": self.tolerance,
            "change": _distance(*self._expected),
        }

    def small_batches(self, trace: Trace) -> tuple[str, ...]:
        """Return guards against batches of none and of one for which a trace is not the model.

        `torch.export` takes for granted that a batch that is left open is neither, and reads what a
        model would do with more.

        Raises:
            ModelError: the example is such a batch.
        """
        found: list[str] = []
        for batch in (0, 1) if trace.batches else ():
            if self._same_for(trace, batch):
                continue
            if batch in self._sizes(trace):
                raise ModelError(
                    "a model computes any batch alike; got one that asks whether there are fewer "
                    f"than 2 images, and an example of {batch}"
                )
            found += [f"{size} != {batch}" for size in trace.batches.values()]
        return tuple(found)

    def _sizes(self, trace: Trace) -> set[int]:
        """Return the example's sizes of what a trace leaves open."""
        flat = pytree.tree_leaves(self._inputs[0])
        return {flat[position].shape[0] for position in trace.batches}

    def _same_for(self, trace: Trace, batch: int) -> bool:
        """Whether a trace computes what the model does for so many of the images."""
        for args in self._inputs:
            flat, structure = pytree.tree_flatten(args)
            few = [x[:batch] if n in trace.batches else x for n, x in enumerate(flat)]
            try:
                expected = _results(self._model, pytree.tree_unflatten(few, structure))
                found = trace.computed(few)
            except Exception:  # whatever the model's own code raises
                return False
            if not _distance(expected, found) <= self.tolerance:
                return False
        return True

    def _distances(self, model: Callable[..., Any]) -> list[float]:
        """Return how far another model's results are, for the example and for random inputs."""
        return [
            _distance(expected, _results(model, args))
            for expected, args in zip(self._expected, self._inputs, strict=True)
        ]

    def _check_repeatable(self) -> None:
        again = max(self._distances(self._model))
        if not again <= self.tolerance:
            raise ModelError(
                "a model computes the same each time; got results for the same inputs that differ "
                f"by {again:.1e} of the largest"
            )

    def _models_own(self) -> float:
        """Return how far the model is from itself in float64; 0 where it does not run in that."""
        try:
            exact = copy.deepcopy(self._model).double()
            found = max(
                _distance(expected, list(map(_rounded, expected, _results(exact, _doubled(args)))))
                for expected, args in zip(self._expected, self._inputs, strict=True)
            )
        except Exception:  # whatever the model's own code raises
            return 0.0
        return found if math.isfinite(found) else 0.0


def _results(model: Callable[..., Any], args: tuple[Any, ...]) -> list[Any]:
    """Return the results for copies of some arguments, which the model may change."""
    with torch.no_grad():
        return pytree.tree_leaves(model(*pytree.tree_map_only(Tensor, torch.clone, args)))


def _doubled(args: tuple[Any, ...]) -> tuple[Any, ...]:
    doubled: tuple[Any, ...] = pytree.tree_map(lambda x: x.double() if _is_real(x) else x, args)
    return doubled


def _rounded(expected: Any, exact: Any) -> Any:
    return exact.to(expected.dtype) if _is_real(expected) and _is_real(exact) else exact


def _distance(expected: Sequence[Any], results: Sequence[Any]) -> float:
    """Return the largest difference of any result; infinite where there are not as many."""
    if len(results) != len(expected):
        return math.inf
    return max(map(_difference, expected, results), default=0.0)


def _random_like(value: Any, generator: torch.Generator) -> Any:
    if not _is_real(value):
        return value
    return torch.randn(value.shape, dtype=value.dtype, generator=generator)


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _shape(value: Any) -> Any:
    return getattr(value, "shape", None)


def _difference(expected: Any, result: Any) -> float:
    """Return the largest difference relative to the largest element; infinite where they differ.

    (Whole numbers are indices of what is nearly equal as a rule: they are not held against.)
    """
    if not _is_real(expected):
        alike = type(expected) is type(result) and _shape(expected) == _shape(result)
        return 0.0 if alike else math.inf
    if not _is_real(result) or (result.shape, result.dtype) != (expected.shape, expected.dtype):
        return math.inf
    same = (expected == result) | (expected.isnan() & result.isnan())
    apart = torch.where(same, 0, (expected - result).abs())
    if not expected.numel():
        return 0.0
    largest = expected[expected.isfinite()].abs().max() if expected.isfinite().any() else 1.0
    return float(apart.nan_to_num(math.inf).max() / max(float(largest), 1e-30))
