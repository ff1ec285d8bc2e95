"""What a problem costs, known before any code runs: parameters, MACs, FLOPs and bytes.

Conventions, the same for every kind of problem:

- A MAC is one multiplication and the addition that accumulates its product.  A FLOP is one floating
  point operation, so there are 2 per MAC.
- Every tap of every output counts, those that fall on padding included.
- The gradient with respect to the input, and that with respect to the weight, each have the MACs of
  the convolution; that with respect to the bias has none.
- Only convolutions and the two dense layers of squeeze-and-excite have MACs.  Adding a bias or a
  residual, activations, the gate's mean and scaling, and what is computed of pixels (mean, norm)
  count as none.
- `bytes` is the least that must move between memory and the processor: input, weights, biases and
  residual read once, output written once, and what is a result of several passes of training read
  and written once.  What a block passes from part to part is not in it; `unfused_bytes` has that
  too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from depthwise.problem.block import BlockSpec, Spec, SqueezeExcite
from depthwise.problem.parse import specification
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import Pair


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a problem for its whole batch; `parts` has that of each of its parts."""

    params: int
    """Elements of weights and biases; of the convolution, where the problem is a gradient."""
    macs: int
    """Multiply-accumulates."""
    bytes: int
    """The least bytes that move: every array of the call once."""
    parts: dict[str, Cost] = field(default_factory=dict, hash=False)
    """Those of a block or of training, in the order in which they run; otherwise empty."""

    @property
    def flops(self) -> int:
        """Floating point operations: 2 per MAC."""
        return 2 * self.macs

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: FLOPs per byte."""
        return self.flops / self.bytes

    @property
    def unfused_bytes(self) -> int:
        """The least bytes that move when the parts run one after the other through memory."""
        return sum(part.bytes for part in self.parts.values()) or self.bytes


def cost(problem: Spec | str) -> Cost:
    """Return the cost of a problem, given as a specification or in its text form.

    >>> cost("conv c8 o64 hw128 k3 bias").params, cost("separable c8 o64 hw128 k3 bias").params
    (4672, 656)

    Raises:
        ParseError: the text is not a problem.
        SpecError: the problem that the text names cannot exist.
    """
    spec = specification(problem)
    parts = _part_costs(spec)
    shapes = spec.input_shape, *spec.operands.values(), spec.output_shape
    return Cost(
        params=_params(spec),
        macs=_macs(spec, parts),
        bytes=sum(map(prod, shapes)) * spec.element.bytes,
        parts=parts,
    )


def parameter_ratio(channels: int, out_channels: int, kernel: Pair, *, bias: bool = False) -> float:
    """Return how many times the parameters of its separable counterpart a convolution has.

    For C input channels, K output channels and a kernel of R x S, with the terms in brackets where
    there is a bias: (K*C*R*S [+ K]) / (C*R*S + K*C [+ C + K]).  Source: "Depthwise Separable
    Convolution", Lei Mao, 2021.
    """
    c, k, taps = channels, out_channels, prod(kernel)
    return (k * c * taps + bias * k) / (c * taps + k * c + bias * (c + k))


def parameter_ratio_limit(kernel: Pair) -> int:
    """Return what `parameter_ratio` tends to as the channels grow: R*S."""
    return prod(kernel)


def _params(spec: Spec) -> int:
    operands = spec.conv.operands if isinstance(spec, PassSpec) else spec.operands
    return sum(prod(shape) for name, shape in operands.items() if name != "residual")


def _macs(spec: Spec, parts: Mapping[str, Cost]) -> int:
    if isinstance(spec, PixelSpec):
        return 0
    if isinstance(spec, BlockSpec) or parts:
        return sum(part.macs for part in parts.values())
    conv = spec.conv if isinstance(spec, PassSpec) else spec
    return prod(conv.output_shape) * (conv.channels // conv.groups) * prod(conv.kernel)


def _part_costs(spec: Spec) -> dict[str, Cost]:
    if isinstance(spec, BlockSpec):
        return _block_costs(spec)
    if isinstance(spec, PassSpec) and len(spec.kernels) > 1:
        return {
            kernel.kind if isinstance(kernel, PassSpec) else "forward": cost(kernel)
            for kernel in spec.kernels
        }
    return {}


def _block_costs(block: BlockSpec) -> dict[str, Cost]:
    last = "pointwise" if block.kind == "separable" else "project"
    costs = {"expand": cost(block.expand)} if block.expand else {}
    costs["depthwise"] = cost(block.depthwise)
    if block.squeeze_excite:
        costs["squeeze_excite"] = _gate_cost(block.depthwise, block.squeeze_excite)
    return costs | {last: cost(block.project)}


def _gate_cost(gated: ConvSpec, gate: SqueezeExcite) -> Cost:
    wide, narrow = gated.out_channels, gate.channels
    params = 2 * wide * narrow + wide + narrow
    return Cost(
        params=params,
        macs=gated.batch * 2 * wide * narrow,
        bytes=(params + 2 * prod(gated.output_shape)) * gated.element.bytes,
    )
