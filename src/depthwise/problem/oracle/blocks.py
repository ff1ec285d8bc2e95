"""A block of convolutions in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.convolutions import convolved
from depthwise.problem.oracle.planes import Array, as_laid_out, planes


def compute(spec: BlockSpec, given: Mapping[str, Array]) -> Array:
    """Return the output of a block in its layout; see `Family.compute`."""
    x = planes(spec, given["x"])
    for name, part in spec.named_parts.items():
        x = convolved(part, x, given[f"{name}_weight"], given.get(f"{name}_bias"))
        if name == "depthwise" and spec.squeeze_excite:
            x = x * _gate(spec.squeeze_excite, x, given)
    if spec.project.residual:
        x = x + planes(spec, given["residual"])
    return as_laid_out(spec, x)


def _gate(gate: SqueezeExcite, x: Array, given: Mapping[str, Array]) -> Array:
    """Return what each channel of (N, D, OH, OW) is multiplied by: (N, D, 1, 1)."""
    mean = x.mean(axis=(2, 3))
    narrow = mean @ given["se_reduce_weight"].T + given["se_reduce_bias"]
    wide = activate(gate.activation, narrow) @ given["se_expand_weight"].T + given["se_expand_bias"]
    return activate(gate.gate, wide)[:, :, None, None]
