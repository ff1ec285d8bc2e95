"""Formulas that are written out, found and called by the name of what they compute.

Exporters write an activation as the arithmetic that it is, each in its own order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Activate, Binary, Unary
from depthwise.problem.dtypes import is_real
from depthwise.problem.vocabulary import Activation


def name_formulas(graph: Graph) -> None:
    """Rewrite every product that is an activation as that activation."""
    for node in list(graph.nodes):
        if isinstance(node.operator, Binary) and node.name == "mul" and _is_there(node):
            found = _activation(graph, node)
            if found is not None:
                name, x = found
                made = graph.insert(node, Activate(activation=name), [x], like=node.output)
                graph.stand_in(node, made)
                graph.drop_unused(into=made)


def _is_there(node: Node) -> bool:
    return node.output.maker is node


def _activation(graph: Graph, product: Node) -> tuple[Activation, Value] | None:
    """Return the activation that a product is, and of what."""
    factors, scale = _factors(graph, product.output, outermost=True)
    for formula in _FORMULAS:
        if len(factors) == formula.factors and math.isclose(scale, formula.scale, rel_tol=1e-5):
            for part in factors:
                x = formula.of(part)
                rest = [each for each in factors if each is not part]
                ours = x is not None and x.shape == product.output.shape
                if x is not None and ours and rest == [x] * (formula.factors - 1):
                    return formula.name, x
    return None


def _factors(graph: Graph, value: Value, *, outermost: bool = False) -> tuple[list[Value], float]:
    """Return what a value is the product of, and the number that is a factor as well."""
    number = _number(value)
    if number is not None:
        return [], number
    maker = value.maker
    mine = outermost or graph.used_once(value)
    if maker is None or not mine or maker.name != "mul" or not isinstance(maker.operator, Binary):
        return [value], 1.0
    found: list[Value] = []
    scale = 1.0
    for each in maker.inputs:
        assert each is not None
        values, factor = _factors(graph, each)
        found, scale = found + values, scale * factor
    return found, scale


def _number(value: Value | None) -> float | None:
    """Return a constant that is one number; None for all else."""
    if value is None or value.constant is None or value.constant.size != 1:
        return None
    return float(value.constant.reshape(())) if is_real(value.constant.dtype) else None


def _plus(value: Value | None) -> tuple[Value, float] | None:
    """Return what a value is the sum of, where that is something and a number."""
    maker = None if value is None else value.maker
    if maker is None or maker.name != "add":
        return None
    for x, other in (maker.inputs, maker.inputs[::-1]):
        number = _number(other)
        if number is not None and x is not None:
            return x, number
    return None


def _activated(name: str) -> Callable[[Value], Value | None]:
    """Return what gives the x of `name(x)`."""

    def of(value: Value) -> Value | None:
        maker = value.maker
        ours = maker is not None and isinstance(maker.operator, Activate) and maker.name == name
        return maker.inputs[0] if maker is not None and ours else None

    return of


def _of_shifted_relu6(value: Value) -> Value | None:
    """Return the x of relu6(x + 3)."""
    inner = _activated("relu6")(value)
    found = _plus(inner)
    return found[0] if found is not None and found[1] == 3 else None


def _of_erf(value: Value) -> Value | None:
    """Return the x of 1 + erf(x / sqrt(2))."""
    found = _plus(value)
    erf = found[0].maker if found is not None and found[1] == 1 else None
    if erf is None or not isinstance(erf.operator, Unary) or erf.name != "erf":
        return None
    scaled = erf.inputs[0].maker if erf.inputs[0] is not None else None
    if scaled is None or scaled.name != "mul":
        return None
    for x, other in (scaled.inputs, scaled.inputs[::-1]):
        number = _number(other)
        if number is not None and math.isclose(number, math.sqrt(0.5), rel_tol=1e-5):
            return x
    return None


class _Formula:
    """scale * part(x), times x where there are two factors."""

    def __init__(
        self, name: Activation, factors: int, of: Callable[[Value], Value | None], scale: float
    ) -> None:
        self.name, self.factors, self.of, self.scale = name, factors, of, scale


_FORMULAS = (
    _Formula("silu", 2, _activated("sigmoid"), 1.0),
    _Formula("hardswish", 2, _activated("hardsigmoid"), 1.0),
    _Formula("hardswish", 2, _of_shifted_relu6, 1 / 6),
    _Formula("hardsigmoid", 1, _of_shifted_relu6, 1 / 6),
    _Formula("gelu", 2, _of_erf, 0.5),
)
"""Hendrycks & Gimpel 2016 (Gaussian Error Linear Units) for GELU and SiLU, Howard et al. 2019
(Searching for MobileNetV3) for the hard ones."""
