"""Nodes of a graph read: which operator, with which arguments."""

from __future__ import annotations

import functools
import math
import operator
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

TO_NHWC, TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


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


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor of the graph for the example, () of anything else."""
    return tuple(value.meta.get("shape", ())) if isinstance(value, fx.Node) else ()


def batch_of(node: Any) -> str:
    """Return the batch of a tensor of the graph, a number or the name of any."""
    return str(node.meta["val"].shape[0])


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


def is_mean_of_pixels(node: Any) -> bool:
    """Whether a node is the mean of each channel of (N, C, H, W)."""
    name = name_of(node)
    if name == "adaptive_avg_pool2d":
        return list(arguments(node)["output_size"]) == [1, 1]
    if name != "mean" or len(shape_of(node.args[0])) != 4:
        return False
    given = arguments(node)
    if given["dtype"] is not None:
        return False
    return sorted(axis % 4 for axis in given.get("dim") or ()) == [2, 3]


def channel_norm(x: torch.Tensor, weight: Any, bias: Any, eps: float) -> torch.Tensor:
    """Return layer normalisation over the channels of each pixel of (N, C, H, W)."""
    pixels = x.permute(TO_NHWC)
    return F.layer_norm(pixels, pixels.shape[-1:], weight, bias, eps).permute(TO_NCHW)


def stage(x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
    """Stand for a problem, which is in the node's `meta`; never called."""
    raise NotImplementedError


def is_stage(node: Any) -> bool:
    """Whether a node is a problem for our kernels."""
    return isinstance(node, fx.Node) and node.target is stage


_MODULES = {"operator": operator, "math": math, "torch": torch}
_OWN = {"channel_norm": channel_norm}


def target_name(target: Any) -> str | None:
    """Return the name under which a node's function is saved; None where it has none."""
    if isinstance(target, OpOverload):
        return f"torch.ops.{target}"
    name = getattr(target, "__name__", "")
    if _OWN.get(name) is target:
        return name
    homes = (home for home, module in _MODULES.items() if getattr(module, name, None) is target)
    home = next(homes, None)
    return home and f"{home}.{name}"


def function(name: str) -> Any:
    """Return the function that `target_name` gave a name."""
    if name in _OWN:
        return _OWN[name]
    home, *path = name.split(".")
    return functools.reduce(getattr, path, _MODULES[home])
