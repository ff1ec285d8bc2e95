"""Problems whose state a call updates: what is verified of a call, and how an engine shows it.

Timed calls go on from the state that the one before left, which is no less work.  A result is held
against the oracle after a call that began with the state given, and the state after it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from depthwise.measure.engine import Array, Prepared
from depthwise.problem import reference
from depthwise.problem.causal import CausalSpec
from depthwise.problem.oracle.causal import final_state


def has_state(spec: Any) -> TypeGuard[CausalSpec]:
    """Whether a call of the problem updates a state."""
    return isinstance(spec, CausalSpec) and spec.state > 0


def expected(spec: Any, given: Sequence[Array]) -> Array:
    """Return what the oracle makes of the input and the operands: the result, in float64.

    Where a call updates a state it is flat, the state behind the result.
    """
    result = reference.forward(spec, *given)
    if not has_state(spec):
        return result
    arrays = (np.asarray(array, np.float64) for array in given)
    return together(result, final_state(spec, dict(zip(spec.array_names, arrays, strict=True))))


def together(result: Array, state: Array) -> Array:
    """Return a result and the state after it as `expected` has them."""
    return np.concatenate([result.ravel(), state.ravel()])


def shown(
    prepared: Prepared, restart: Callable[[], object], state: Callable[[], Array]
) -> Prepared:
    """Return what was prepared with the output that is verified where a call updates a state.

    Args:
        prepared: its output is that of its last run.
        restart: puts the state given in the place of the one that calls left.
        state: returns the state, its axes those of the problem.
    """

    def output() -> Array:
        restart()
        prepared.run()
        return together(prepared.output(), state())

    return replace(prepared, output=output)
