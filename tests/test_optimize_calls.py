"""How an optimized network is called: sizes, arguments and results like the model's."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

import depthwise.torch as dwt
from depthwise.errors import ArrayError
from optimizing import SIZE, check, images


class Depthwise(nn.Module):
    """One kernel, quick to compile, for tests of what is round it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, groups=8)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def test_any_batch_and_size_works_where_the_model_takes_it() -> None:
    model = Depthwise().eval()
    fast = dwt.optimize(model, images(1, 8, SIZE, SIZE))
    for shape in [(1, 8, SIZE, SIZE), (3, 8, 7, 19), (2, 8, 1, 1), (1, 8, SIZE, SIZE)]:
        check(model, fast, images(*shape))


class TwoWays(Depthwise):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + 1 if x.shape[2] % 2 == 0 else y - 1


class Flattened(Depthwise):
    """Of one size, which the linear layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8 * 6 * 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).view(x.shape[0], -1))


@pytest.mark.parametrize(
    ("model", "others"),
    [(TwoWays(), [(2, 8, 4, 5), (1, 8, 10, 7)]), (Flattened(), [(2, 8, 6, 6), (1, 8, 6, 6)])],
)
def test_sizes_that_the_model_treats_otherwise_are_refused(model, others) -> None:
    fast = dwt.optimize(model.eval(), images(1, 8, 6, 6))
    for shape in others:
        check(model, fast, images(*shape))
    with pytest.raises(ArrayError, match="for others"):
        fast(images(1, 8, 7, 6))
    with pytest.raises(ArrayError, match=r"\(.*8, .*\).*got \(1, 9, 6, 6\)"):
        fast(images(1, 9, 6, 6))


class Sum(Depthwise):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.conv(x) - y


class SumOfAny(Depthwise):
    def forward(self, *images: Tensor) -> Tensor:
        return self.conv(images[0]) - images[1]


@pytest.mark.parametrize("model", [Sum(), SumOfAny()])
def test_an_example_given_twice_is_two_inputs(model) -> None:
    x = images(1, 8, 6, 6)
    fast = dwt.optimize(model.eval(), (x, x))
    check(model, fast, x, images(1, 8, 6, 6, seed=2))
    check(model, fast, images(2, 8, 6, 6), images(2, 8, 6, 6, seed=2))
