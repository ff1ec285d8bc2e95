"""What `optimize` makes of small models: which kernels, what is left to torch, the same results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations

import depthwise.torch as dwt
from optimizing import Model, check, depthwise, images, kinds, left_to_torch, pointwise, random_

CHANNELS, SIZE = 8, 6


def constant(*shape: int) -> nn.Buffer:
    return nn.Buffer(images(*shape, seed=9))


def let(value: Any, function: Callable[[Any], Any]) -> Any:
    return function(value)


def gate(channels: int, squeezed: int, out_channels: int | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        pointwise(channels, squeezed),
        nn.ReLU(),
        pointwise(squeezed, out_channels or channels),
        nn.Sigmoid(),
    )


def linear_gate(y: Tensor, s: Any) -> Tensor:
    hidden = F.silu(s.reduce(y.mean((2, 3))))
    return y * F.hardsigmoid(s.restore(hidden))[:, :, None, None]


def folded_gate(y: Tensor, s: Any) -> Tensor:
    """Mixes channels of different images, as no squeeze-and-excite does."""
    hidden = F.relu(s.reduce(F.adaptive_avg_pool2d(y, 1).reshape(-1, 4)))
    return y * s.restore(hidden).sigmoid().reshape(-1, 8, 1, 1)


def added_gate(y: Tensor, s: Any) -> Tensor:
    mean = y.mean((2, 3), keepdim=True)
    return y * (s.restore(F.relu(s.reduce(mean))).sigmoid() + mean)


def convnext(s: Any, x: Tensor, activation: Callable[[Tensor], Tensor] = F.gelu) -> Tensor:
    y = s.norm(s.d(x).permute(0, 2, 3, 1))
    y = s.restore(activation(s.reduce(y)))
    return x + F.dropout(s.scale * y, 0.3, training=False).permute(0, 3, 1, 2)


def shuffled(s: Any, x: Tensor) -> Tensor:
    """Compute a ShuffleNet unit."""
    kept, x = x.chunk(2, 1)
    y = torch.cat([kept, F.relu(s.r(s.q(F.relu(s.p(x)))))], 1)
    n, c, h, w = y.shape
    return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def changed_in_part(s: Any, x: Tensor) -> Tensor:
    y = s.d(x)
    y[:, :2].mul_(2)
    return s.p(y)


def changed_later(s: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    y = s.d(x)
    z = s.p(y)
    return F.relu_(y), z


def summed_in_place(s: Any, x: Tensor) -> Tensor:
    y = s.p(s.d(x))
    y += x
    y *= 2
    return y


def sum_of_constant(s: Any, x: Tensor) -> Tensor:
    y = s.k.expand_as(x).clone()
    y += x
    return s.d(y)


ONE = {"d": depthwise(8)}
TWO = {"d": depthwise(8), "p": pointwise(8, 8)}
THREE = {"e": pointwise(8, 8), **TWO}
GATED = {**TWO, "reduce": nn.Linear(8, 4), "restore": nn.Linear(4, 8)}
NEXT = {
    "d": depthwise(8, 7), "norm": nn.LayerNorm(8), "reduce": nn.Linear(8, 16),
    "restore": nn.Linear(16, 8), "scale": constant(8),
}  # fmt: skip


def norm(**how: Any) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(8, **how)


Case = tuple[Callable[..., Any], dict[str, Any], dict[str, int], set[str]]
CASES: dict[str, Case] = {
    # blocks
    "separable": (lambda s, x: s.p(F.relu6(s.d(x))), TWO, {"separable": 1}, set()),
    "inverted": (
        lambda s, x: s.p(F.silu(s.d(F.silu(s.e(x))))) + x, THREE, {"inverted": 1}, set(),
    ),
    "expansion without activation": (
        lambda s, x: s.p(s.d(s.e(x))), THREE, {"inverted": 1}, set(),
    ),
    "gate": (
        lambda s, x: s.p(let(s.d(x), lambda y: y * s.g(y))), {**TWO, "g": gate(8, 4)},
        {"inverted": 1}, set(),
    ),
    "gate on the left": (
        lambda s, x: s.p(let(F.silu(s.d(x)), lambda y: s.g(y) * y)), {**TWO, "g": gate(8, 4)},
        {"inverted": 1}, set(),
    ),
    "gate of linear layers": (
        lambda s, x: s.p(linear_gate(s.d(x), s)), GATED, {"inverted": 1}, set(),
    ),
    "one gate for all channels": (
        lambda s, x: s.p(let(s.d(x), lambda y: y * s.g(y))), {**TWO, "g": gate(8, 4, 1)},
        {"depthwise": 1, "pointwise": 3, "mean": 1}, {"mul"},
    ),
    "gate across images": (
        lambda s, x: s.p(folded_gate(s.d(x), s)),
        {**GATED, "reduce": nn.Linear(4, 4), "restore": nn.Linear(4, 4)},
        {"depthwise": 1, "pointwise": 3, "mean": 1, "elementwise": 1}, {"reshape"},
    ),
    "gate with a sum": (
        lambda s, x: s.p(added_gate(s.d(x), s)),
        {**GATED, "reduce": pointwise(8, 4), "restore": pointwise(4, 8)},
        {"depthwise": 1, "pointwise": 3, "mean": 1, "elementwise": 1}, set(),
    ),
    "convnext": (convnext, NEXT, {"depthwise": 1, "norm": 1, "pointwise": 2}, set()),
    "multiplier": (
        lambda s, x: s.p(s.d(x)),
        {"d": nn.Conv2d(8, 16, 3, padding=1, groups=8), "p": pointwise(16, 4)},
        {"separable": 1}, set(),
    ),
    "shuffle unit": (
        shuffled, {"p": pointwise(4, 4), "q": depthwise(4), "r": pointwise(4, 4)},
        {"pointwise": 1, "separable": 1, "gather": 2}, set(),
    ),
    # results that are used twice
    "depthwise result used twice": (
        lambda s, x: let(s.d(x), lambda y: s.p(y) + y.mean()), TWO,
        {"depthwise": 1, "pointwise": 1}, {"add", "mean"},
    ),
    "depthwise result returned": (
        lambda s, x: let(s.d(x), lambda y: (y, s.p(y))), TWO, {"depthwise": 1, "pointwise": 1},
        set(),
    ),
    "convolution result used before its norm": (
        lambda s, x: let(s.d(x), lambda y: s.n(y) + y), {**ONE, "n": norm()},
        {"depthwise": 2}, set(),
    ),
    "module called twice": (lambda s, x: s.d(s.d(x)), ONE, {"depthwise": 2}, set()),
    "one norm behind two convolutions": (
        lambda s, x: (s.n(s.d(x)), s.n(s.p(x))), {**TWO, "n": norm()},
        {"depthwise": 1, "pointwise": 1}, set(),
    ),
    "sum with itself": (
        lambda s, x: let(s.p(x), lambda y: y + y), {"p": pointwise(8, 8)},
        {"pointwise": 1, "elementwise": 1}, set(),
    ),
    # batch norm
    "norm without statistics": (
        lambda s, x: s.n(s.d(x)), {**ONE, "n": norm(track_running_stats=False)},
        {"depthwise": 1}, {"batch_norm"},
    ),
    "norm without weights": (
        lambda s, x: s.n(s.d(x)), {**ONE, "n": norm(affine=False)}, {"depthwise": 1}, set(),
    ),
    "norm before": (lambda s, x: s.d(s.n(x)), {**ONE, "n": norm()}, {"depthwise": 2}, set()),
    "norm behind an activation": (
        lambda s, x: s.n(F.relu(s.d(x))), {**ONE, "n": norm()}, {"depthwise": 2}, set(),
    ),
    "norm of features": (
        lambda s, x: s.n(s.d(x).mean((2, 3))), {**ONE, "n": nn.BatchNorm1d(8)},
        {"depthwise": 1, "mean": 1}, {"batch_norm", "reshape"},
    ),
    # sums and products
    "sum with a factor": (
        lambda s, x: torch.add(s.p(x), x, alpha=2), {"p": pointwise(8, 8)}, {"pointwise": 1},
        {"add"},
    ),
    "sum of all pixels' means": (
        lambda s, x: s.p(x) + x.mean((2, 3), keepdim=True), {"p": pointwise(8, 8)},
        {"pointwise": 1, "mean": 1}, set(),
    ),
    "sum with whole numbers": (
        lambda s, x: s.p(x) + x.argsort(3), {"p": pointwise(8, 8)}, {"pointwise": 1},
        {"add", "argsort"},
    ),
    "sum in place": (summed_in_place, TWO, {"separable": 1, "elementwise": 1}, set()),
    "two pointwise": (
        lambda s, x: s.p(x) + s.e(x), {"p": pointwise(8, 8), "e": pointwise(8, 8)},
        {"pointwise": 1}, set(),
    ),
    "scalars": (
        lambda s, x: s.d(x) * 3 + 0.5, ONE, {"depthwise": 1}, set(),
    ),
    "factors of channels": (
        lambda s, x: s.k * s.d(x) + s.c, {**ONE, "k": constant(8, 1, 1), "c": constant(1, 1, 1)},
        {"depthwise": 1}, set(),
    ),
    "factors of columns": (
        lambda s, x: s.d(x) * s.k, {**ONE, "k": constant(6)}, {"depthwise": 1}, {"mul"},
    ),
    "factors that make more channels": (
        lambda s, x: s.p(x) * s.k, {"p": pointwise(8, 1), "k": constant(1, 8, 1, 1)},
        {"pointwise": 1}, {"mul"},
    ),
    # activations
    "swish by hand": (
        lambda s, x: let(s.d(x), lambda y: y * y.sigmoid()), ONE, {"depthwise": 1}, set(),
    ),
    "hard swish by hand": (
        lambda s, x: let(s.d(x), lambda y: F.hardsigmoid(y) * y), ONE, {"depthwise": 1}, set(),
    ),
    "two activations": (
        lambda s, x: F.silu(F.relu(s.d(x))), ONE, {"depthwise": 1, "elementwise": 1}, set(),
    ),
    "activation of a part": (
        changed_in_part, TWO, {"depthwise": 1, "pointwise": 1}, {"mul", "slice", "slice_scatter"},
    ),
    "activation in place, used before": (
        changed_later, TWO, {"depthwise": 1, "pointwise": 1, "elementwise": 1}, set(),
    ),
    "activation in place of a copy": (
        lambda s, x: s.p(F.relu_(x.clone())) + x, {"p": pointwise(8, 8)},
        {"pointwise": 1, "elementwise": 1}, {"clone"},
    ),
    "sum in place of a constant's copy": (
        sum_of_constant, {**ONE, "k": constant(1, 8, 1, 1)}, {"depthwise": 1},
        {"add", "clone", "expand_as"},
    ),
    # padding
    "padding of one side": (
        lambda s, x: s.d(F.pad(x, (0, 1, 2, 1))), {"d": depthwise(8, padding=0, stride=2)},
        {"depthwise": 1}, set(),
    ),
    "padding that is negative": (
        lambda s, x: s.d(F.pad(x, (-1, 1, 0, -2))), ONE, {"depthwise": 1}, {"pad"},
    ),
    "padding with ones": (
        lambda s, x: s.d(F.pad(x, (1, 1), value=1.0)), ONE, {"depthwise": 1}, {"constant_pad_nd"},
    ),
    "padding of channels": (
        lambda s, x: s.d(F.pad(x, (0, 0, 0, 0, 0, 1))), {"d": depthwise(9)}, {"depthwise": 1},
        {"pad"},
    ),
    "padding by reflection": (
        lambda s, x: s.d(x), {"d": depthwise(8, padding_mode="reflect")}, {"depthwise": 1}, {"pad"},
    ),
    # convolutions
    "groups": (lambda s, x: s.c(x), {"c": nn.Conv2d(8, 8, 3, groups=2)}, {"conv": 1}, set()),
    "transposed": (
        lambda s, x: s.p(s.c(x)), {"c": nn.ConvTranspose2d(8, 8, 3), "p": pointwise(8, 4)},
        {"pointwise": 1}, {"conv_transpose2d"},
    ),
    "weight of the input": (
        lambda s, x: F.conv2d(x, s.k * x.mean()), {"k": constant(4, 8, 1, 1)}, {},
        {"convolution", "mean", "mul"},
    ),
    "weight computed from others": (
        lambda s, x: F.conv2d(x, s.k.expand(8, 1, 3, 3) / s.k.std(), groups=8),
        {"k": constant(1, 1, 3, 3)}, {"depthwise": 1}, set(),
    ),
    "weight in another order": (
        lambda s, x: F.conv2d(x, s.k.t()[:, :, None, None]), {"k": constant(8, 5)},
        {"pointwise": 1}, set(),
    ),
    "parametrization": (
        lambda s, x: s.p(s.d(x)), {**TWO, "d": parametrizations.weight_norm(depthwise(8))},
        {"separable": 1}, set(),
    ),
    # what lies in another order in memory
    "view": (
        lambda s, x: s.d(x).view(x.shape[0], -1).view_as(x.flatten(1)), ONE, {"depthwise": 1},
        {"reshape", "reshape_as"},
    ),
    "pixels": (
        lambda s, x: let(s.p(x).flatten(2), lambda q: (q @ q.mT).softmax(-1)),
        {"p": pointwise(8, 8)}, {"pointwise": 1}, {"reshape", "permute", "matmul", "softmax"},
    ),
    "a copy that might have been a view": (
        lambda s, x: let(s.d(x), lambda y: (y, x.double(), x.bfloat16())), ONE, {"depthwise": 1},
        {"to"},
    ),
    "images that are made of nothing": (
        lambda s, x: s.p(s.d(x) + torch.ones(1, 8, 6, 6)), {**ONE, "p": pointwise(8, 8)},
        {"depthwise": 1, "pointwise": 1}, {"ones", "add"},
    ),
    "pieces that share memory": (
        lambda s, x: let(torch.unsafe_chunk(s.d(x), 2, 1), lambda y: s.p(y[0]) + s.q(y[1])),
        {**ONE, "p": pointwise(4, 8), "q": pointwise(4, 8)},
        {"depthwise": 1, "pointwise": 2, "gather": 2}, set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_small_models(case: Case) -> None:
    forward, modules, matched, left = case
    model = random_(Model(forward, **modules))
    x = images(2, CHANNELS, SIZE, SIZE)
    fast = dwt.optimize(model, x)
    assert kinds(fast) == matched
    assert left_to_torch(fast) == left
    for seed in (2, 3):  # the second call finds what the first left in memory
        check(model, fast, images(2, CHANNELS, SIZE, SIZE, seed=seed))
