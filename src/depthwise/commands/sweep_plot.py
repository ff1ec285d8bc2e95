"""The times of the tilings of a schedule, drawn as a map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthwise.drawing import canvas, save


def tiling_map(
    title: str, tilings: Sequence[tuple[int, int, int, float]], unit: str, file: Path
) -> None:
    """Draw the rates of tilings (tc, tw, th, rate): channels or rows upwards, columns across.

    Rows of the tile stand in place of channels where the channels do not vary.
    """
    figure, axes = canvas()
    axes.grid(visible=False)
    by_rows = len({tc for tc, *_ in tilings}) == 1
    cells = {(th if by_rows else tc, tw): rate for tc, tw, th, rate in tilings}
    upwards, across = (sorted({cell[axis] for cell in cells}) for axis in (0, 1))
    grid = [[cells.get((y, x), float("nan")) for x in across] for y in upwards]
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="viridis")
    fastest = max(cells.values())
    for (y, x), rate in cells.items():
        axes.text(
            across.index(x), upwards.index(y), f"{rate:.1f}", ha="center", va="center",
            color="black" if rate > 0.6 * fastest else "white",
            fontweight="bold" if rate == fastest else "normal",
        )  # fmt: skip
    axes.set_xticks(range(len(across)), [str(x) for x in across])
    axes.set_yticks(range(len(upwards)), [str(y) for y in upwards])
    axes.set_xlabel("tw, columns in a tile")
    axes.set_ylabel("th, rows in a tile" if by_rows else "tc, channels in a vector or block")
    axes.set_title(title)
    figure.colorbar(image, label=unit)
    save(figure, file)
