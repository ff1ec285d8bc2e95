"""Channels of several images gathered into one: concatenation, slices and shuffles of channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES, QUANTIZED
from depthwise.problem.pitches import Pitches, ordered, texts
from depthwise.problem.problem import OfRuns
from depthwise.problem.text import errors_with, size_text
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, shown, whole, word
from depthwise.problem.vocabulary import Layout

MOST_RUNS = 20
"""The runs of a problem, so that its line can be read back."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"[:MOST_RUNS]
"""What the images are called in a line."""


@dataclass(frozen=True)
class Run:
    """Neighbouring channels of an image; prints as `a[0:8]`.

    Attributes:
        image: the number of the image, x being 0.
        start: the first channel.
        stop: that behind the last one.
    """

    image: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many channels."""
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{LETTERS[self.image]}[{self.start}:{self.stop}]"


@dataclass(frozen=True, kw_only=True)
class GatherSpec(OfRuns):
    """Channels of channels-last images of one size, gathered into one image (N, H, W, O).

    Equivalent to `torch.cat` along the channels of what each element of `picks` stands for: a run
    of channels, or several runs of as many channels in turn, the first of each, the second of each,
    and so on.

    Attributes:
        images: the channels of x and of each other image.
        picks: where the channels of the result come from, in order.

    Raises:
        SpecError: the problem cannot exist.
    """

    images: tuple[int, ...]
    picks: tuple[tuple[Run, ...], ...]
    height: int
    width: int
    batch: int = 1
    dtype: str = DEFAULT
    pitches: Pitches = ()

    kind: ClassVar[str] = "gather"
    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        with errors_with(self.kind, vars(self), defaults=vars(GatherSpec)):
            word("dtype", self.dtype, DTYPES + QUANTIZED)
            for name in ("height", "width", "batch"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
            if not (isinstance(self.images, tuple) and 0 < len(self.images) <= MOST_RUNS):
                raise SpecError(f"images are 1 to {MOST_RUNS}; got {shown(self.images)}")
            object.__setattr__(self, "images", tuple(whole("channels", c) for c in self.images))
            if not (isinstance(self.picks, tuple) and all(map(_is_pick, self.picks))):
                raise SpecError(f"picks are tuples of runs of channels; got {shown(self.picks)}")
        runs = [run for pick in self.picks for run in pick]
        if not 0 < len(runs) <= MOST_RUNS:
            raise SpecError(f"runs are 1 to {MOST_RUNS}; got {len(runs)}")
        if strange := [run.image for run in runs if not 0 <= run.image < len(self.images)]:
            raise SpecError(f"runs are of {len(self.images)} images; got number {strange[0]}")
        sizes = {"c": min(self.images), "h": self.height, "w": self.width, "n": self.batch}
        check_sizes(sizes, self)
        for run in runs:
            if not 0 <= run.start < run.stop <= self.images[run.image]:
                raise SpecError(
                    f"a run begins and ends within its image of {self.images[run.image]} channels; "
                    f"got {run}: {self}"
                )
        if uneven := [pick for pick in self.picks if len({run.count for run in pick}) > 1]:
            got = _pick_text(uneven[0])
            raise SpecError(f"runs whose channels go in turn are equally long; got {got}: {self}")
        with errors_with(self.kind, vars(self), defaults=vars(GatherSpec)):
            object.__setattr__(self, "pitches", ordered(self.pitches, self.image_shapes()))
        if max(prod(self.output_shape), *map(prod, self._shapes())) > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    def _shapes(self) -> list[tuple[int, ...]]:
        return [(self.batch, self.height, self.width, channels) for channels in self.images]

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C), of the first image."""
        return self._shapes()[0]

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, H, W, O)."""
        channels = sum(run.count for pick in self.picks for run in pick)
        return self.batch, self.height, self.width, channels

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The other images: `image1`, `image2`, ..."""
        return {f"image{number}": shape for number, shape in enumerate(self._shapes()) if number}

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that may be runs of channels; see `OfRuns`."""
        return {"x": self.input_shape, **self.operands, "y": self.output_shape}

    @property
    def computed(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.operands)

    def resized(self, batch: int, height: int, width: int) -> GatherSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = size_text(self.height, self.width)
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1)]
        tokens += ["c" + ",".join(map(str, self.images)), size, "nhwc"]
        tokens += [*[self.dtype] * (self.dtype != DEFAULT), *map(_pick_text, self.picks)]
        tokens += texts(self.pitches)
        return " ".join(tokens)


def _is_pick(pick: object) -> bool:
    return isinstance(pick, tuple) and all(isinstance(run, Run) for run in pick)


def _pick_text(pick: tuple[Run, ...]) -> str:
    return "/".join(map(str, pick))
