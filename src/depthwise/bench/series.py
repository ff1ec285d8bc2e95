"""What the pictures show, before anything draws it: lines, points, and how each looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from depthwise.bench.comparison import OURS, pairs
from depthwise.bench.peers.parts import convolutions
from depthwise.bench.results import Result
from depthwise.drawing import COLOURS, OUR_COLOUR
from depthwise.machine.team import in_words
from depthwise.measure import posed
from depthwise.problem.costs import cost
from depthwise.problem.families import BY_KIND
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

LEAST_CHANNELS = 3
"""Fewer points than these make no line."""


Lines = dict[str, dict[int, float]]
"""By contestant: GFLOP/s by channels."""


@dataclass(frozen=True)
class Point:
    """One problem under the roofline."""

    label: str
    intensity: float
    """FLOPs per byte."""
    gflops: float
    series: str = ""
    """Points of one series look alike."""
    about: str = ""
    """Who reached it, and on which problem."""


@dataclass(frozen=True)
class Look:
    """How a line or point looks; dashes and markers are numbered, the first is the plainest."""

    colour: str
    dash: int
    marker: int
    ours: bool


def channel_lines(results: Iterable[Result]) -> tuple[str, Lines]:
    """Return the problems that differ in channels alone, in words, and each contestant's line.

    Of several such families the one with the most channel counts; no lines where none has enough.
    """
    families: dict[object, Lines] = defaultdict(lambda: defaultdict(dict))
    words = {}
    for result in results:
        spec = parse(result.spec)
        if not convolutions(spec):
            continue
        family = _family(spec)
        channels = convolutions(spec)[0].channels
        words[family] = result.spec.replace(f" c{channels}", "", 1)
        if result.gflops is not None:
            families[family][result.contestant][channels] = result.gflops
    if not families:
        return "", {}
    chosen = max(families, key=lambda family: max(map(len, families[family].values())))
    lines = {
        name: dict(sorted(line.items()))
        for name, line in families[chosen].items()
        if len(line) >= LEAST_CHANNELS
    }
    return words[chosen], lines


def channels_title(words: str, one: Result) -> str:
    """Return the title of such lines: the problems in words, and the conditions of a result."""
    return f"{words}, {one.dtype}, batch {one.batch}, {one.clock} clock, {in_words(one.threads)}"


def points(results: Iterable[Result]) -> list[Point]:
    """Return our fastest and the fastest peer's result of each problem under the roofline."""
    found = []
    for pair in pairs(results):
        spec = parse(pair.spec)
        intensity = cost(spec).flops / posed.least_bytes(spec)
        for series, label, best in (
            (OURS, short(spec), pair.ours),
            ("fastest peer", "", pair.peer),
        ):
            if best is not None and best.gflops is not None:
                about = f"{best.contestant} on {pair.spec}"
                found.append(Point(label, intensity, best.gflops, series, about))
    return found


def roofline_title(roofline: Roofline) -> str:
    """Return what a roofline was measured with."""
    return (
        f"Roofline measured with {in_words(roofline.threads)}, {roofline.dtype}, "
        f"target {roofline.cpu}"
    )


def extent(points: Iterable[Point], roofline: Roofline) -> tuple[float, float]:
    """Return the FLOPs per byte between which the points and the ridges of a roofline lie."""
    ridges = [roofline.peak_gflops / bandwidth for bandwidth in roofline.levels().values()]
    known = [*ridges, *(point.intensity for point in points)]
    return min(known) / 2, max(known) * 2


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return how each name looks: a colour for its first word, dash and marker for the rest."""
    engines: dict[str, list[str]] = defaultdict(list)
    for name in names:
        engines[name.split(" ")[0]].append(name)
    peers = [engine for engine in engines if engine != OURS]
    colours = {engine: COLOURS[k % len(COLOURS)] for k, engine in enumerate(peers)}
    return {
        name: Look(colours.get(engine, OUR_COLOUR), variant, number + variant, engine == OURS)
        for number, (engine, own) in enumerate(engines.items())
        for variant, name in enumerate(own)
    }


def _family(spec: Problem) -> object:
    """Return what is equal for problems that differ in channels alone."""
    parts = convolutions(spec)
    part = next((part for part in parts if part.is_depthwise), parts[0])
    window = (part.height, part.width, part.kernel, part.stride, part.padding, part.dilation)
    widths = [(each.kind, each.out_channels / each.channels) for each in parts]
    return (spec.kind, spec.batch, *window, *widths)


def short(spec: Problem) -> str:
    """Return the tokens of a problem that tell it from others of its kind, but for its padding."""
    tokens = str(spec).split()
    return " ".join(each for each in tokens if each not in BY_KIND and each[0] != "p")
