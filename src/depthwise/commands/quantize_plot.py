"""What each layer of a quantized network costs its results, drawn as bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from depthwise.drawing import COLOURS, OUR_COLOUR, canvas, save

if TYPE_CHECKING:
    from depthwise.onnx.quantized_report import QuantizationReport

WIDTH, ROW_HEIGHT, MARGIN = 9.0, 0.22, 1.6
"""Inches of the picture: across, of each layer, and of what surrounds them."""


def plot(report: QuantizationReport, file: Path) -> None:
    """Draw a bar for each layer, in the order of the network, downwards.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    rows = report.layers
    figure, axes = canvas(WIDTH, MARGIN + ROW_HEIGHT * len(rows))
    for dtype, colour in zip(report.dtypes, (OUR_COLOUR, COLOURS[0]), strict=True):
        places = [place for place, row in enumerate(rows) if row.dtype == dtype]
        errors = [100 * rows[place].error for place in places]
        if places:
            axes.barh(places, errors, color=colour, label=f"computed in {dtype}")
    names = [f"{row.name}  {row.kind}" for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize="x-small")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("relative error of the results when the layer alone is quantized, %")
    axes.set_title(next(report.accuracy.sentences()))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save(figure, file)
