"""What PT2E puts between real numbers and whole ones, read: operators of `quantized_decomposed`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from depthwise.network.graph import Codes, Value
from depthwise.network.operators import Dequantize, Operator, Quantize
from depthwise.problem.dtypes import QUANTIZED, element
from depthwise.torch.network.constants import as_array
from depthwise.torch.network.operators import arguments, name_of
from depthwise.torch.network.tracing import Trace

_DOMAIN = "quantized_decomposed::"


def meaning(value: Callable[[Any], Value | None], node: fx.Node, name: str) -> Operator | None:
    """Return what a node is that stays torch's unless a kernel takes it."""
    if name not in (f"{_DOMAIN}quantize_per_tensor", f"{_DOMAIN}dequantize_per_tensor"):
        return None
    given = arguments(node)
    scale, zero, dtype = given["scale"], given["zero_point"], _name(given["dtype"])
    x, y = value(given["input"]), value(node)
    if not isinstance(scale, float) or not isinstance(zero, int) or dtype not in QUANTIZED:
        return None
    if x is None or y is None or given.get("out_dtype") not in (None, torch.float32):
        return None
    if name.endswith("dequantize_per_tensor"):
        return Dequantize(scale=scale, zero=zero) if y.dtype == "float32" else None
    whole = (given["quant_min"], given["quant_max"]) == element(dtype).range
    ours = whole and x.dtype == "float32" and 0 < scale < math.inf
    return Quantize(dtype=dtype, scale=scale, zero=zero) if ours else None


def codes_of(trace: Trace, node: fx.Node) -> Codes | None:
    """Return the whole numbers that a constant is computed from, if it is."""
    name = name_of(node)
    if name not in (f"{_DOMAIN}dequantize_per_tensor", f"{_DOMAIN}dequantize_per_channel"):
        return None
    given = arguments(node)
    plain = {"scale": given.get("scale", given.get("scales"))}
    plain["zero"] = given.get("zero_point", given.get("zero_points"))
    array = trace.constants.get(given["input"])
    if array is None or array.dtype.is_floating_point:
        return None
    scale, zero = (_array(trace, plain[each]) for each in ("scale", "zero"))
    if scale is None:
        return None
    zeros = np.zeros(scale.shape) if zero is None else zero
    return Codes(
        as_array(array), scale.astype(np.float32), zeros.astype(np.int32), given.get("axis", 0)
    )


def _array(trace: Trace, given: Any) -> Any:
    """Return a number, or a constant tensor, as a row."""
    found = trace.constants.get(given) if isinstance(given, fx.Node) else given
    return None if found is None else np.asarray(found).reshape(-1)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
