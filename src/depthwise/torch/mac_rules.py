"""What torch's operators and ours cost; `depthwise.problem.costs` has the conventions.

A matrix product counts whatever it multiplies; a transposed convolution counts every tap of every
input, those that its padding crops included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from math import prod
from operator import add
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from depthwise.problem.costs import cost
from depthwise.problem.parse import parse

Arguments: TypeAlias = Mapping[str, Any]
"""An operator's arguments by the names of its schema, defaults included."""

_MATRICES = {
    "aten::mm": ("self", "mat2"),
    "aten::addmm": ("mat1", "mat2"),
    "aten::bmm": ("self", "mat2"),
    "aten::baddbmm": ("batch1", "batch2"),
    "aten::addbmm": ("batch1", "batch2"),
    "aten::mv": ("self", "vec"),
    "aten::addmv": ("mat", "vec"),
    "aten::dot": ("self", "tensor"),
    "aten::vdot": ("self", "other"),
}
_CONVOLUTIONS = {
    "aten::convolution": ("input", "weight"),
    "depthwise::conv2d": ("x", "weight"),
    "depthwise::pointwise": ("x", "weight"),
}
PRODUCTS = _MATRICES | _CONVOLUTIONS
"""Operators that multiply two of their arguments and accumulate, and the names of the two."""

_PLAIN = {
    "_fused_dropout", "_index_put_impl", "_pin_memory", "_prelu_kernel", "_prelu_kernel_backward",
    "_to_copy", "_unsafe_index", "_unsafe_index_put", "_unsafe_view", "bernoulli", "cat",
    "channel_shuffle", "col2im", "complex", "copy", "diag_embed", "embedding",
    "embedding_dense_backward", "empty_like", "fill", "flip", "floor_divide", "full_like", "gather",
    "glu", "glu_backward", "hardswish", "hardswish_backward", "im2col", "index", "index_add",
    "index_copy", "index_fill", "index_put", "index_select", "lift", "log_sigmoid_backward",
    "log_sigmoid_forward", "masked_scatter", "masked_select", "native_dropout", "new_empty",
    "new_empty_strided", "new_full", "new_ones", "new_zeros", "ones_like", "pixel_shuffle",
    "pixel_unshuffle", "polar", "rand_like", "randint_like", "randn_like", "random", "repeat",
    "repeat_interleave", "resize", "roll", "rot90", "rrelu_with_noise", "rrelu_with_noise_backward",
    "rsub", "scatter", "scatter_add", "select_scatter", "slice_scatter", "stack", "take", "tril",
    "triu", "unfold_backward", "uniform", "unsafe_split", "unsafe_split_with_sizes", "zero",
    "zeros_like",
}  # fmt: skip
"""Operators, elementwise or that make or move elements, which torch does not tag as such."""

_NO_PRODUCTS = ("pool", "norm", "pad", "nearest")
"""Parts of the names of pooling, normalisation, padding and repetition, forward and backward."""


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of the forward pass, of that again, and of the two gradients."""

    forward: int = 0
    recomputed: int = 0
    input_gradient: int = 0
    weight_gradient: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(astuple(self))

    def __add__(self, other: Macs) -> Macs:
        return Macs(*map(add, astuple(self), astuple(other)))


def name_of(func: torch._ops.OpOverload) -> str:
    """Return an operator's name, such as aten::addmm, whichever overload, in place or not."""
    return func._schema.name.rstrip("_")


def arguments_of(
    func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    parameters = func._schema.arguments
    defaults = {p.name: p.default_value for p in parameters if p.has_default_value()}
    return {**defaults, **dict(zip((p.name for p in parameters), args, strict=False)), **kwargs}


def product_macs(name: str, arguments: Arguments, output: Tensor) -> int:
    """Return the MACs of one of `PRODUCTS`."""
    left: Tensor
    right: Tensor
    left, right = (arguments[operand] for operand in PRODUCTS[name])
    if name in _CONVOLUTIONS:
        return _conv_macs(left if arguments.get("transposed") else output, right)
    return left.numel() * (right.shape[-1] if right.dim() > 1 else 1)


def _conv_macs(pixels: Tensor, weight: Tensor) -> int:
    return pixels.numel() * prod(weight.shape[1:])


def _convolution_backward(a: Arguments) -> Macs:
    macs = _conv_macs(a["input"] if a["transposed"] else a["grad_output"], a["weight"])
    of_input, of_weight, _ = a["output_mask"]
    return Macs(input_gradient=macs * of_input, weight_gradient=macs * of_weight)


def _conv2d_input_gradient(a: Arguments) -> Macs:
    return Macs(input_gradient=_conv_macs(a["grad"], a["weight"]))


def _conv2d_weight_gradient(a: Arguments) -> Macs:
    return Macs(weight_gradient=a["grad"].numel() * prod(a["kernel"]))


def _causal_gradients(a: Arguments) -> Macs:
    macs = _conv_macs(a["x"], a["weight"])
    recomputed = macs if a["activation"] is not None else 0
    return Macs(recomputed=recomputed, input_gradient=macs, weight_gradient=macs)


GRADIENTS: dict[str, Callable[[Arguments], Macs]] = {
    "aten::convolution_backward": _convolution_backward,
    "depthwise::conv2d_input_gradient": _conv2d_input_gradient,
    "depthwise::conv2d_weight_gradient": _conv2d_weight_gradient,
    "depthwise::causal_conv1d_gradients": _causal_gradients,
}
"""Operators that compute gradients of convolutions; bias gradients have no MACs."""


def _block(a: Arguments, output: Tensor) -> int:
    macs: int
    before, after = _pixels(a["x"]), _pixels(output)
    macs = after * (a["depthwise_weight"].numel() + a["project_weight"].numel())
    return macs if a["expand_weight"] is None else macs + before * a["expand_weight"].numel()


def _pixels(x: Tensor) -> int:
    return x.numel() // x.shape[1]


def _stage(a: Arguments, output: Tensor) -> int:
    del output
    problem: Any = parse(a["problem"])
    x = a["x"]
    height, width = x.shape[2:] if x.dim() == 4 else (1, 1)
    return cost(problem.resized(x.shape[0], height, width)).macs


def _causal(a: Arguments, output: Any) -> int:
    del output
    return _conv_macs(a["x"], a["weight"])


BLOCKS: dict[str, Callable[[Arguments, Any], int]] = {
    "depthwise::block": _block,
    "depthwise::compute": _stage,
    "depthwise::causal_conv1d": _causal,
    "depthwise::causal_conv1d_update": _causal,
}
"""Operators that compute convolutions, forward; their gradients are those of the parts."""


def macs_of(name: str, arguments: Arguments, output: Any) -> int | None:
    """Return the MACs of a call of an operator, None where no rule has them."""
    if name in PRODUCTS:
        return product_macs(name, arguments, output)
    if name in BLOCKS:
        return BLOCKS[name](arguments, output)
    return GRADIENTS[name](arguments).total if name in GRADIENTS else None


def has_no_macs(func: torch._ops.OpOverload, arguments: Arguments) -> bool:
    """Whether an operator is known to have no MACs by convention.

    Those are elementwise operators, reductions, pooling, normalisation, padding, their derivatives,
    and whatever only makes, moves or views elements.
    """
    namespace, _, name = name_of(func).partition("::")
    if namespace == "prim" or not any(isinstance(leaf, Tensor) for leaf in tree_leaves(arguments)):
        return True
    if namespace != "aten":
        return False
    if name in _PLAIN or any(part in name for part in _NO_PRODUCTS):
        return True
    return _is_plain(func) or _is_plain(_overload(name.removesuffix("_backward")))


def _overload(name: str) -> torch._ops.OpOverload | None:
    packet = getattr(torch.ops.aten, name, None)
    return packet and getattr(packet, packet.overloads()[0])


def _is_plain(func: torch._ops.OpOverload | None) -> bool:
    return func is not None and (
        func.is_view or not {torch.Tag.pointwise, torch.Tag.reduction}.isdisjoint(func.tags)
    )
