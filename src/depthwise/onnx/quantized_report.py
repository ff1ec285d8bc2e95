"""What became of each layer of a network that was quantized: a table, or plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from depthwise import console
from depthwise.onnx.accuracy import Accuracy
from depthwise.onnx.calibration import Calibration
from depthwise.problem.html import as_html

INT8, FLOAT = "int8", "float32"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A convolution or product.

    Attributes:
        name: of its node.
        kind: what it is in words.
        dtype: what it is computed in, `INT8` or `FLOAT`.
        error: the relative error of the network's results when it alone is quantized.
    """

    name: str
    kind: str
    dtype: str
    error: float


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """The layers of a network in order, and what quantizing did to its results.

    Attributes:
        layers: of the network.
        accuracy: of the whole.
        calibration: how ranges were found.
        calibrated_images: in how many images.
        layer_images: how many images the layers' errors were measured with.
        bytes_before: of the model as it was given.
        bytes_after: of the quantized one.
    """

    layers: tuple[Row, ...]
    accuracy: Accuracy
    calibration: Calibration
    calibrated_images: int
    layer_images: int
    bytes_before: int
    bytes_after: int

    headers: ClassVar[tuple[str, ...]] = ("layer", "what it is", "computed in", "error %")
    """Of the table."""
    words: ClassVar[int] = 3
    """How many leading columns of the table hold words."""
    dtypes: ClassVar[tuple[str, str]] = (INT8, FLOAT)
    """What layers may be computed in."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, fit for JSON."""
        return {**asdict(self), "layers": [asdict(row) for row in self.layers]}

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield what the table shows of each layer."""
        for row in self.layers:
            yield row.name, row.kind, row.dtype, f"{100 * row.error:.2f}"

    def notes(self) -> Iterator[str]:
        """Yield the lines below the table."""
        floats = [row.name for row in self.layers if row.dtype == FLOAT]
        left = f"; left in float: {', '.join(floats)}" if floats else ""
        count = len(self.layers)
        yield f"{count - len(floats)} of {count} layers are computed with whole numbers{left}"
        yield from self.accuracy.sentences()
        yield (
            f"the model: {self.bytes_before:,} bytes before, {self.bytes_after:,} now "
            f"({self.bytes_after / self.bytes_before:.2f} of it)"
        )
        yield (
            f"ranges of values: {self.calibration} of {self.calibrated_images} images; error: of "
            f"the results when that layer alone is quantized, on {self.layer_images} images"
        )

    def _repr_html_(self) -> str:
        return as_html(
            "quantized", self.headers, self.cells(), words=self.words, notes=self.notes()
        )

    def __str__(self) -> str:
        table = console.table_text(self.headers, self.cells(), left=self.words)
        return "\n".join([table, "", *self.notes()]).rstrip()
