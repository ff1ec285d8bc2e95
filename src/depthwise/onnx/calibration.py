"""The range of each value of a model: what ONNX Runtime's calibrators find in data."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import ModelProto

from depthwise.errors import ModelError
from depthwise.problem.arrays import Array

Calibration = Literal["minmax", "entropy", "percentile"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)


def ranges(model: ModelProto, batches: Iterable[Mapping[str, Array]], how: Calibration) -> Any:
    """Return what `QDQQuantizer` takes as ranges.

    Args:
        model: with the types of its values.
        batches: inputs by their names, one call's after the other's.
        how: the least and the greatest value; or less, where clipping a few costs less than steps
            that are wider: by entropy, or 99.999% of the values.

    Raises:
        ModelError: some value is not finite.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    with tempfile.TemporaryDirectory() as folder, silent():
        file = Path(folder) / "model.onnx"
        onnx.save(model, file)
        calibrator = create_calibrator(
            file, None, str(Path(folder) / "augmented.onnx"), methods[how]
        )
        for batch in batches:
            calibrator.collect_data(_Reader(batch))
        found = calibrator.compute_data()
    _check_finite(found)
    return found


@contextmanager
def silent() -> Iterator[None]:
    """Let nothing of what the quantizer logs and prints be seen; its errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)


class _Reader:
    """One batch, as calibrators read data."""

    def __init__(self, batch: Mapping[str, Array]) -> None:
        self._batches = iter([batch])

    def get_next(self) -> Mapping[str, Array] | None:
        return next(self._batches, None)


def _check_finite(found: Any) -> None:
    for name, data in found.items():
        low, high = data.range_value
        if not np.isfinite([low, high]).all():
            raise ModelError(
                f"what a network computes of its data is finite; got {low} to {high} for {name!r}"
            )
