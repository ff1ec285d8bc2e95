"""What `depthwise bench` is asked, of layers and of whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from depthwise.bench import layers
from depthwise.bench.layers import Epilogue
from depthwise.drawing import can_draw
from depthwise.errors import SpecError
from depthwise.measure.engine import Clock
from depthwise.problem.dtypes import DEFAULT

Op = Literal[layers.Op, "network"]
Shape: TypeAlias = "tuple[int, ...]"
Asked: TypeAlias = "Mapping[str, Shape] | Sequence[Shape]"
PICTURES = Path("results")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise bench` is asked; the defaults are its main job."""

    op: Op = "depthwise"
    """What the layers pose; "network": the workloads themselves, as a whole."""
    workloads: Sequence[str] = ()
    """Names; none, and no layer file, means those of the command."""
    layers: Path | None = None
    model: str | None = None
    """The network to measure: a file, or module:factory."""
    inputs: Asked = ()
    """The shapes of some of its inputs, by name or in their order."""
    batch: int = 1
    dtype: str = DEFAULT
    layout: str | None = None
    """None is the usual one of the element type."""
    threads: int = 1
    clock: Clock = "kernel"
    epilogue: Epilogue = "none"
    peers: Sequence[str] | None = None
    """Names; None means every peer that is installed."""
    repeats: int = 20
    cpu: str | None = None
    """The CPU to compile for; None is this machine."""
    pin: Sequence[int] | None = None
    """The cores to stay on."""
    json: Path = Path("results/bench.json")
    csv: Path | None = None
    """The file for all results as a table."""
    plot: Path | None = None
    """The folder for the pictures; None is `PICTURES`, where they can be drawn at all."""
    html: Path | None = None
    """The file for a page of everything."""
    command: str = ""
    """The command line that asks for this."""

    @property
    def pictures(self) -> Path | None:
        """The folder for pictures; None where nothing draws them, and none were asked for."""
        return self.plot or (PICTURES if can_draw() else None)


def names(text: str | None) -> list[str] | None:
    """Read `--peers`: names with commas between them, "none", or None for every installed one."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]


def cores(text: str | None) -> list[int] | None:
    """Read `--pin`: numbers of cores with commas between them.

    Raises:
        SpecError: there is something else between the commas.
    """
    if text is None:
        return None
    if not all(core.strip().isdigit() for core in text.split(",")):
        raise SpecError(f"pin is numbers of cores, as 0,1; got {text!r}")
    return [int(core) for core in text.split(",")]
