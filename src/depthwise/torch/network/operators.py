"""Nodes of a graph read: which operator, with which arguments."""

from __future__ import annotations

from typing import Any

from torch import fx
from torch._ops import OpOverload


def name_of(node: Any) -> str:
    """Return an aten operator's name without its overload, in place or not; else ""."""
    if not isinstance(node, fx.Node) or not isinstance(node.target, OpOverload):
        return ""
    return node.target._schema.name.removeprefix("aten::").removesuffix("_")


def is_in_place(node: fx.Node) -> bool:
    """Whether a node changes what it takes."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return an operator's arguments by name, those left out with their defaults."""
    assert isinstance(node.target, OpOverload)
    schema = node.target._schema.arguments
    given = dict(zip((argument.name for argument in schema), node.args, strict=False))
    defaults = {each.name: each.default_value for each in schema if each.has_default_value()}
    return {**defaults, **given, **node.kwargs}


def activation_of(node: Any) -> str | None:
    """Return the name of the activation that a node is, as `vocabulary.ACTIVATIONS` has it."""
    name = name_of(node)
    if name in ("relu", "relu6", "hardswish", "silu", "sigmoid", "hardsigmoid"):
        return name
    given = arguments(node) if name in _WITH_ARGUMENTS else {}
    return name_if(name, given)


_WITH_ARGUMENTS = ("hardtanh", "clamp", "clamp_min", "gelu", "leaky_relu")


def name_if(name: str, given: dict[str, Any]) -> str | None:
    """Return the activation that an operator is with these arguments."""
    if name == "hardtanh" and (given["min_val"], given["max_val"]) == (0, 6):
        return "relu6"
    if name == "clamp" and (given["min"], given["max"]) in ((0, 6), (0, None)):
        return "relu6" if given["max"] else "relu"
    if name == "clamp_min" and given["min"] == 0:
        return "relu"
    if name == "gelu" and given["approximate"] == "none":
        return "gelu"
    if name == "leaky_relu" and given["negative_slope"] == 0.01:
        return "leaky_relu"
    return None
