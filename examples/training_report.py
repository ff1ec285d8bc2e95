"""What `train_separable.py` tells at its end: a table, a picture, a file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from depthwise.console import out, print_table
from depthwise.measure.state import describe
from depthwise.measure.timing import Summary

EARLY_STEPS, EARLY_TOLERANCE = 5, 2e-3
"""Most that losses may differ in the first steps, where rounding is all that can differ."""
TOLERANCE = 0.2
"""Most that the mean losses of an epoch may differ, which training has driven apart since: a tenth
of the loss of a guess."""
COLOURS = ("#0072B2", "#D55E00")


@dataclass(frozen=True)
class Curve:
    """How one training went."""

    layers: str
    losses: Sequence[float]
    """Of every step."""
    step_ms: Sequence[float]
    """Of every step after the warm-up."""
    accuracy: float
    """Part of the test images whose class the trained network tells."""

    @property
    def time(self) -> Summary:
        """Milliseconds a step."""
        return Summary.of(self.step_ms)

    def epochs(self, count: int) -> list[float]:
        """Return the mean loss of each epoch."""
        steps = len(self.losses) // count
        return [mean(self.losses[k : k + steps]) for k in range(0, len(self.losses), steps)]


def tell(curves: Sequence[Curve], epochs: int) -> int:
    """Print how both went; return 0 if their losses agree, 1 if not."""
    rows = [
        (
            curve.layers, f"{curve.time.median:.1f}", f"{curve.time.mad:.1f}",
            *(f"{loss:.4f}" for loss in curve.epochs(epochs)), f"{100 * curve.accuracy:.1f}",
        )
        for curve in curves
    ]  # fmt: skip
    losses = [f"loss {epoch + 1}" for epoch in range(epochs)]
    print_table(("layers", "ms/step", "±", *losses, "test %"), rows)
    first, second = curves
    ratio = first.time.median / second.time.median
    out.print(f"a step with {second.layers}'s layers is {ratio:.2f} times as fast")
    early = largest_difference(first.losses[:EARLY_STEPS], second.losses[:EARLY_STEPS])
    late = largest_difference(first.epochs(epochs), second.epochs(epochs))
    agree = early <= EARLY_TOLERANCE and late <= TOLERANCE
    out.print(
        f"losses {'agree' if agree else 'DISAGREE'}: they differ by at most {early:.1e} in the "
        f"first {EARLY_STEPS} steps (of {EARLY_TOLERANCE:g} allowed), by {late:.1e} in the mean "
        f"of an epoch (of {TOLERANCE:g})"
    )
    return 0 if agree else 1


def largest_difference(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the largest distance between numbers in the same place."""
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Draw the losses, and beside them the time of each step."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    losses, times = figure.subplots(1, 2)
    for curve, colour, width in zip(curves, COLOURS, (3, 1), strict=True):
        losses.plot(curve.losses, color=colour, linewidth=width, label=curve.layers)
        label = f"{curve.layers}, median {curve.time.median:.1f} ms"
        times.plot(curve.step_ms, ".", color=colour, markersize=3)
        times.axhline(curve.time.median, color=colour, label=label)
    losses.set(title="Loss of each batch", xlabel="step", ylabel="cross-entropy", ylim=(0, None))
    slowest = max(curve.time.median for curve in curves)
    times.set(
        title="Time of a step", xlabel="step after the warm-up", ylabel="ms", ylim=(0, 2 * slowest)
    )
    for axes in (losses, times):
        axes.legend(frameon=False)
        axes.grid(visible=True, linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    picture = BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    put(file, picture.getvalue())


def write(curves: Sequence[Curve], file: Path) -> None:
    """Write every loss and time, and the machine, as JSON."""
    content = {"machine": describe(), "trainings": [asdict(curve) for curve in curves]}
    put(file, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def put(file: Path, content: bytes) -> None:
    """Put a whole file into its place, or none."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        whole = Path(folder) / file.name
        whole.write_bytes(content)
        whole.replace(file)
