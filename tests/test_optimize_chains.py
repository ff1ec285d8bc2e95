"""Chains of functions of each element in models of torch: kernels, and the same results."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import depthwise.torch as dwt
from depthwise.errors import ArrayError
from depthwise.loading import load
from optimizing import Model, check, images, left_to_torch, pointwise, random_

SIZE = (2, 8, 6, 5)


def between(function: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Return what computes a function of a positive image between two convolutions."""
    return lambda s, x: s.q(function(s, s.p(x) ** 2 + 0.1))


def excited(s: Any, x: Tensor) -> Tensor:
    y = s.p(x)
    return y * torch.sigmoid(s.q(F.relu(s.p(y.mean((2, 3), keepdim=True)))))


FUNCTIONS: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "abs": (lambda _, y: y.abs(), "abs"),
    "exp": (lambda _, y: torch.exp(y), "exp"),
    "neg": (lambda _, y: -y, "neg"),
    "reciprocal": (lambda _, y: torch.reciprocal(y), "reciprocal"),
    "sqrt": (lambda _, y: y.sqrt(), "sqrt"),
    "root": (lambda _, y: y**0.5, "sqrt"),
    "square": (lambda _, y: torch.square(y), "square"),
    "tanh": (lambda _, y: y.tanh(), "tanh"),
    "erf": (lambda _, y: torch.erf(y), "erf"),
    "softplus": (lambda _, y: F.softplus(y), "softplus"),
    "mish": (lambda _, y: F.mish(y), "mish"),
    "gelu_tanh": (lambda _, y: F.gelu(y, approximate="tanh"), "gelu_tanh"),
    "leaky": (lambda _, y: F.leaky_relu(y - 1, 0.2), "add.scalar prelu.scalar"),
    "prelu": (lambda s, y: s.slopes(y - 1), "add.scalar prelu.channel"),
    "clamp": (lambda _, y: y.clamp(0.2, 0.7), "max.scalar min.scalar"),
    "clamp_max": (lambda _, y: y.clamp_max(0.7), "add.scalar min.scalar"),
    "hardtanh": (lambda _, y: F.hardtanh(y), "max.scalar min.scalar"),
    "maximum": (lambda s, y: torch.maximum(y, s.p(y)), "max.image"),
    "minimum": (lambda s, y: torch.minimum(s.p(y), y), "min.image"),
    "rsub": (lambda _, y: torch.tanh(1 - y), "rsub.scalar tanh"),
    "rdiv": (lambda s, y: s.p(y).mean((2, 3), keepdim=True) / y, "rdiv.gate"),
}  # fmt: skip
MODULES = {"p": pointwise(8, 8), "q": pointwise(8, 8), "slopes": nn.PReLU(8)}


def chains(fast: Any) -> list[str]:
    """Return the functions of each kernel that has some, of its own or behind a convolution."""
    found = [getattr(stage.spec, "chain", ()) for stage in fast.network.kernels()]
    return [" ".join(map(str, chain)) for chain in found if chain]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_torch(name: str) -> None:
    function, chain = FUNCTIONS[name]
    model = random_(Model(between(function), **MODULES))
    x = images(*SIZE)
    fast = dwt.optimize(model, x)
    check(model, fast, x)
    assert not left_to_torch(fast)
    assert any(each.endswith(chain) for each in chains(fast)), chains(fast)


def test_squeeze_and_excite_without_a_projection() -> None:
    model = random_(Model(excited, **MODULES))
    fast = dwt.optimize(model, images(*SIZE))
    assert chains(fast) == ["mul.gate"]
    assert not left_to_torch(fast)
    for batch in (1, 3, 0):
        x = images(batch, *SIZE[1:])
        check(model, fast, x)


class Gated(nn.Module):
    """Operands of three kinds that are given."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q = pointwise(8, 8), pointwise(8, 8)

    def forward(self, x: Tensor, gate: Tensor, rows: Tensor) -> Tensor:
        y = torch.tanh(self.p(x) * gate) - x
        return self.q(y * rows)


def test_saved_and_traced_networks_have_the_operands_in_their_order(tmp_path: Any) -> None:
    model = random_(Gated())
    given = images(*SIZE), images(2, 8, 1, 1, seed=2), images(2, 1, 6, 5, seed=3)
    fast = dwt.optimize(model, given)
    check(model, fast, *given)
    assert chains(fast) == ["mul.gate tanh sub.image mul.pixel"]
    check(model, pickle.loads(pickle.dumps(fast)), *given)
    check(model, copy.deepcopy(fast), *given)
    fast.save(tmp_path / "fast.dw")
    wanted = model(*given).detach()
    result = torch.from_numpy(load(tmp_path / "fast.dw")(*(each.numpy() for each in given)))
    torch.testing.assert_close(result, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def test_the_operator_takes_operands_in_the_order_of_the_problem() -> None:
    x, gate, other = images(*SIZE), images(2, 8, 1, 1, seed=2), images(*SIZE, seed=3)
    scale = images(8, seed=4)
    line = "elementwise n2 c8 h6 w5 nhwc mul.gate mul.channel sub.image"
    compute = torch.ops.depthwise.compute
    result = compute(x, [scale], [gate, other], line)
    torch.testing.assert_close(result, x * gate * scale[:, None, None] - other)
    assert torch.library.opcheck(compute.default, (x, [scale], [gate, other], line))
    for weights, computed in (
        ([scale], [other, gate]), ([scale], [gate]), ([scale, gate], [other]), ([], [gate, other]),
    ):  # fmt: skip
        with pytest.raises(ArrayError):
            compute(x, weights, computed, line)
