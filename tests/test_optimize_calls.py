"""How an optimized network is called: sizes, arguments and results like the model's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import depthwise.torch as dwt
from depthwise.errors import ArrayError
from optimizing import check, images


class Depthwise(nn.Module):
    """One kernel, quick to compile, for tests of what is round it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, groups=8)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class TwoWays(Depthwise):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + 1 if x.shape[0] < 4 else y - 1


class Flattened(Depthwise):
    """Its images' pixels are features, which views of images in another order are not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8 * 6 * 6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).view(x.shape[0], -1))


@pytest.mark.parametrize("model", [Depthwise(), Flattened(), TwoWays()])
def test_any_batch_of_the_example_s_size_works(model) -> None:
    fast = dwt.optimize(model.eval(), images(1, 8, 6, 6))
    for batch in (1, 3, 2, 1):
        check(model, fast, images(batch, 8, 6, 6, seed=batch))
    for shape in [(1, 8, 7, 6), (1, 9, 6, 6), (8, 6, 6), (1, 8, 6, 6, 1)]:
        with pytest.raises(ArrayError, match="for others"):
            fast(images(*shape))


def test_a_batch_that_the_model_treats_otherwise_is_refused() -> None:
    fast = dwt.optimize(TwoWays().eval(), images(1, 8, 6, 6))
    with pytest.raises(ArrayError, match=r"size\(\)\[0\] < 4.*for others.*got \(5, 8, 6, 6\)"):
        fast(images(5, 8, 6, 6))


class OfOne(Depthwise):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return 2 * y if x.shape[0] == 1 else y


class Centred(Depthwise):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y - y.mean(0) if y.shape[0] > 1 else y


class Squeezed(Depthwise):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3)).squeeze()


class AtLeastTwo(Depthwise):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[0] > 1
        return self.conv(x)


@pytest.mark.parametrize("example", [2, 3])
@pytest.mark.parametrize("model", [OfOne(), Centred(), AtLeastTwo()])
def test_one_image_is_refused_where_the_model_asks_whether_there_are_more(model, example) -> None:
    fast = dwt.optimize(model.eval(), images(example, 8, 6, 6))
    for batch in (3, 2):
        check(model, fast, images(batch, 8, 6, 6, seed=batch))
    one = images(1, 8, 6, 6)
    for call in (fast, torch.compile(fast, backend="eager")):
        with pytest.raises(ArrayError, match=r"size\(\)\[0\] != 1.*for others.*got \(1, 8, 6, 6\)"):
            call(one)


@pytest.mark.parametrize("model", [Depthwise(), Flattened(), Squeezed()])
def test_one_image_is_computed_where_the_model_does_not_ask(model) -> None:
    fast = dwt.optimize(model.eval(), images(2, 8, 6, 6))
    for batch in (1, 3, 1):
        check(model, fast, images(batch, 8, 6, 6, seed=batch))


class Pooled(Depthwise):
    """What torch computes, a kernel behind it, and several results."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x.sigmoid())
        return y.mean((2, 3)), self.conv(y.relu())


@pytest.mark.parametrize("example", [1, 2])
@pytest.mark.parametrize("model", [Depthwise(), Pooled(), Squeezed()])
def test_of_no_images_there_is_an_empty_result(model, example) -> None:
    fast = dwt.optimize(model.eval(), images(example, 8, 6, 6))
    check(model, fast, images(0, 8, 6, 6))
    check(model, fast, images(example, 8, 6, 6))


def test_no_images_are_refused_where_the_model_refuses_them() -> None:
    fast = dwt.optimize(Flattened().eval(), images(2, 8, 6, 6))
    with pytest.raises(ArrayError, match=r"size\(\)\[0\] != 0"):
        fast(images(0, 8, 6, 6))


def test_an_example_of_one_image_says_nothing_of_more_where_the_model_asks() -> None:
    model = OfOne().eval()
    fast = dwt.optimize(model, images(1, 8, 6, 6))
    check(model, fast, images(1, 8, 6, 6, seed=2))
    assert "asks whether there are fewer than 2" in dict(fast.report.untouched)["any other batch"]
    with pytest.raises(ArrayError, match=r"\(1, 8, 6, 6\) of the example"):
        fast(images(2, 8, 6, 6))


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
