"""How far the results of a quantized network are from those of the float network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from depthwise.errors import ArrayError, ModelError
from depthwise.network.report import percent
from depthwise.onnx.runtime import session_of
from depthwise.onnx.samples import Samples
from depthwise.problem.arrays import Array

Results = Sequence[Array]
_NEVER_SPIN = ("session.intra_op.allow_spinning", "0")


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """What quantizing did to the results of a network.

    Attributes:
        images: how many were compared.
        error: the root of the mean square of what results differ by, relative to that of the float
            network's results; of several outputs, the largest.  Whole numbers: the share of them
            that differ.
        agreement: the share of images of which both networks name the same class; None where the
            first output is none of (N, classes).
        correct_before: the share of images whose class the float network names; None without
            labels.
        correct_after: the same of the quantized network.
    """

    images: int
    error: float
    agreement: float | None
    correct_before: float | None
    correct_after: float | None

    def sentences(self) -> Iterator[str]:
        """Yield it in words."""
        yield f"relative error of the results: {percent(self.error)} on {self.images} images"
        if self.agreement is None:
            return
        said = f"top-1: the float network's class on {percent(self.agreement)} of the images"
        if self.correct_before is not None and self.correct_after is not None:
            said += (
                f"; right on {percent(self.correct_after)}, the float network on "
                f"{percent(self.correct_before)}"
            )
        yield said


def results(model: ModelProto, samples: Samples, threads: int) -> Iterator[Results]:
    """Yield what ONNX Runtime computes, a call at a time.

    Raises:
        ModelError: it computes something that is not finite.
    """
    session = session_of(model.SerializeToString(), threads, _NEVER_SPIN)
    names = [each.name for each in session.get_outputs()]
    for batch in samples.batches():
        found = _run(session, batch)
        for name, array in zip(names, found, strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelError(f"results of a network are finite; got others in {name!r}")
        yield found


def _run(session: Any, batch: dict[str, Array]) -> Results:
    try:
        found: Results = session.run(None, batch)
    except Exception as error:  # its errors have no base of their own
        said = " ".join(str(error).split())
        raise ModelError(f"ONNX Runtime computes the network; it says: {said}") from None
    return found


def compared(
    wanted: Iterable[Results], found: Iterable[Results], labels: Array | None = None
) -> Accuracy:
    """Return how far results are from others.

    Args:
        wanted: what the float network returns, a call at a time.
        found: what the quantized one returns.
        labels: the class of each image, (N,), where they are known (`check_labels`).
    """
    squares: list[Array] = []
    before: list[Array] = []
    after: list[Array] = []
    images = 0
    for ours, theirs in zip(wanted, found, strict=True):
        squares.append(np.array([_squares(*pair) for pair in zip(ours, theirs, strict=True)]))
        images += len(ours[0])
        classes = _classes(ours[0])
        before += [] if classes is None else [classes.argmax(1)]
        after += [] if classes is None else [theirs[0].reshape(classes.shape).argmax(1)]
    one, other = (np.concatenate(each) if each else None for each in (before, after))
    return Accuracy(
        images=images,
        error=_relative(np.sum(squares, axis=0)),
        agreement=_share(one, other),
        correct_before=_share(one, labels),
        correct_after=_share(other, labels),
    )


def _squares(wanted: Array, found: Array) -> tuple[float, float]:
    """Return the sum of the squares of what arrays differ by, and that of what is wanted."""
    if wanted.dtype.kind != "f":
        return float(np.count_nonzero(wanted != found)), float(wanted.size)
    exact = wanted.astype(np.float64)
    return float(np.square(found - exact).sum()), float(np.square(exact).sum())


def _relative(squares: Array) -> float:
    """Return the largest error of several outputs, (outputs, 2)."""
    return max(
        0.0 if not lost else math.sqrt(lost / whole) if whole else math.inf
        for lost, whole in squares
    )


def check_labels(result: Array, labels: Array | None) -> None:
    """Refuse labels that are no classes of a network, by its first output.

    Raises:
        ArrayError: as said.
    """
    if labels is None:
        return
    classes = _classes(result)
    if classes is None:
        raise ArrayError(
            f"labels are for a network whose first output is (N, classes); got {result.shape}"
        )
    if not ((labels >= 0) & (labels < classes.shape[1])).all():
        raise ArrayError(
            f"labels are classes of the network, 0 to {classes.shape[1] - 1}; got "
            f"{labels.min()} to {labels.max()}"
        )


def _classes(result: Array) -> Array | None:
    """Return what a network says of each class, (N, classes); None where it has none."""
    if result.dtype.kind != "f" or result.ndim < 2 or result[0].size != result.shape[1]:
        return None
    return result.reshape(result.shape[:2]) if result.shape[1] > 1 else None


def _share(one: Array | None, other: Array | None) -> float | None:
    return None if one is None or other is None else float(np.mean(one == other))
