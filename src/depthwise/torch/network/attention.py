"""What attention is made of in torch: products of two tensors, softmax, and their rearrangements.

Each reader returns what a call is where a kernel may compute it, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from torch import fx

from depthwise.network.graph import Value
from depthwise.network.operators import (
    Foreign,
    HeadAttention,
    Operator,
    Product,
    Select,
    Softmax,
    matrix_product,
    product,
)
from depthwise.torch.network.calls import FunctionCall, Ref
from depthwise.torch.network.operators import arguments

Find: TypeAlias = "Callable[[Any], Value | None]"


def unbound(value: Find, node: fx.Node) -> tuple[Operator, list[Value | None]]:
    """Read one of the tensors that an axis is taken apart to as a selection of its own."""
    whole, number = cast("tuple[fx.Node, int]", node.args)
    given = arguments(whole)
    x = value(given["self"])
    call = FunctionCall("torch.ops.aten.select.int", (Ref(0), given["dim"], number), {})
    meaning = _selected(x, given["dim"], number)
    return Foreign(called="aten.select.int", payload=call, may_view=True, meaning=meaning), [x]


def meaning(value: Find, node: fx.Node, name: str) -> Operator | None:
    """Return what a call of an operator of a name is that a kernel may compute."""
    reader = _READERS.get(name)
    return None if reader is None else reader(value, node)


def _selected(x: Value | None, axis: int, index: Any) -> Operator | None:
    rank = 0 if x is None or x.constant is not None else len(x.shape or ())
    return Select(axis=axis % rank, index=index) if rank and type(index) is int else None


def _select(value: Find, node: fx.Node) -> Operator | None:
    given = arguments(node)
    return _selected(value(given["self"]), given["dim"], given["index"])


def _product(value: Find, node: fx.Node) -> Product | None:
    """Read a product of two tensors that differ and are computed."""
    if isinstance(node.args[0], str):
        equation, tensors = node.args[0], node.args[1]
    else:
        equation, tensors = None, node.args[:2]
    found = [value(each) for each in cast("list[Any]", tensors)]
    if len(found) != 2 or found[0] is found[1]:
        return None
    if any(x is None or x.constant is not None for x in found):
        return None
    if equation is not None:
        return product(equation)
    ranks = [len(x.shape or ()) for x in found if x is not None]
    return matrix_product(*ranks)


def _softmax(value: Find, node: fx.Node) -> Softmax | None:
    given = arguments(node)
    x, made = value(given["self"]), value(node)
    rank = 0 if x is None else len(x.shape or ())
    alike = x is not None and made is not None and x.dtype == made.dtype
    return Softmax(axis=given["dim"] % rank) if rank and alike else None


def _attention(value: Find, node: fx.Node) -> HeadAttention | None:
    """Read attention without chance, of as many heads of keys as of queries."""
    given = arguments(node)
    found = [value(given[name]) for name in ("query", "key", "value")]
    ranks = {len(x.shape or ()) for x in found if x is not None}
    plain = not (given["dropout_p"] or given["is_causal"] or given.get("enable_gqa"))
    if not plain or None in found or len(set(found)) != len(found) or len(ranks) > 1:
        return None
    scale = given.get("scale")
    return HeadAttention(scale=scale) if scale is None or isinstance(scale, (int, float)) else None


_READERS: dict[str, Callable[[Find, fx.Node], Operator | None]] = {
    "select": _select,
    "matmul": _product,
    "bmm": _product,
    "einsum": _product,
    "softmax": _softmax,
    "_softmax": _softmax,
    "scaled_dot_product_attention": _attention,
}
"""By the name of the operator."""
