"""Trained networks that read text, of open heights and widths: the same as ONNX Runtime.

They are in the package rapidocr-onnxruntime 1.4.4 (licence Apache-2.0), of which the files alone
are needed: `pip install --no-deps rapidocr-onnxruntime==1.4.4`.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

from depthwise.loading import load
from onnx_models import by_runtime, called, noise

PACKAGE = find_spec("rapidocr_onnxruntime")
needs_files = pytest.mark.skipif(PACKAGE is None, reason="rapidocr-onnxruntime is not installed")
DEEP, TINY = 1e-3, 1e-6
"""How far the result of so many layers in single precision may be off, of the largest element
(docs/optimize.md), and of probabilities that are all next to none."""


def agrees(name: str, *shapes: tuple[int, ...]) -> None:
    model = onnx.load(Path(PACKAGE.submodule_search_locations[0]) / "models" / name)
    network = load(model, inputs={"x": shapes[0]})
    for shape in shapes:
        image = noise(*shape)
        (result,), (wanted,) = called(network, image), by_runtime(model, [image])
        np.testing.assert_allclose(result, wanted, rtol=0, atol=DEEP * np.abs(wanted).max() + TINY)


@needs_files
@pytest.mark.slow
def test_which_way_a_text_lies():
    agrees("ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 96), (2, 3, 48, 64))


@needs_files
@pytest.mark.slow
def test_where_a_text_is():
    agrees("ch_PP-OCRv4_det_infer.onnx", (1, 3, 64, 96), (1, 3, 96, 64))


@needs_files
@pytest.mark.slow
def test_what_a_text_says():
    agrees("ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 80))
