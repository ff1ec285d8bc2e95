"""Quantizers beside one another: how far results are from the float network's, on text lines.

    pip install --no-deps rapidocr-onnxruntime==1.4.4 pillow
    python benchmarks/quantizers.py cls rec

The networks are those of PP-OCR that rapidocr-onnxruntime has: which way a text lies (cls), and
what it says (rec).  Lines of text are drawn with the fonts that matplotlib has; ranges are found
with other lines than those the results are compared on.  NNCF takes part where it is installed.
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import numpy as np
import onnx
from onnx import ModelProto
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from depthwise.console import print_table
from depthwise.onnx.accuracy import compared, results
from depthwise.onnx.calibration import CALIBRATIONS, ranges
from depthwise.onnx.files import model_of
from depthwise.onnx.quantizer import Quantizer, prepared
from depthwise.onnx.samples import Samples

NETWORKS = {
    "cls": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", 192, 400),
    "rec": ("ch_PP-OCRv4_rec_infer.onnx", 320, 100),
}
"""The file of each, how wide its images are, and how many the results are compared on."""
HEIGHT = 48
CALIBRATED = 64
WORDS = Path(__file__).parents[1].joinpath("LICENSE").read_text(encoding="utf-8").split()
FONTS = sorted(Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf"))


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*", default=[*NETWORKS], choices=[*NETWORKS])
    for name in parser.parse_args().networks:
        file, width, count = NETWORKS[name]
        package = find_spec("rapidocr_onnxruntime")
        if package is None or package.origin is None:
            raise SystemExit("pip install --no-deps rapidocr-onnxruntime==1.4.4")
        model = prepared(model_of(Path(package.origin).parent / "models" / file))
        rng = np.random.default_rng(0)
        given, _ = lines(rng, CALIBRATED, width)
        held, upside_down = lines(rng, count, width)
        labels = upside_down if name == "cls" else None
        print_table(
            ("quantizer", "error %", "same class %", "right %"),
            rows(model, given, held, labels),
            title=f"{file}, {count} lines of text",
        )


def rows(
    model: ModelProto, given: Samples, held: Samples, labels: np.ndarray | None
) -> Iterator[tuple[str, ...]]:
    """Yield how far each quantizer's results are from those of the float network."""
    wanted = [classes(each) for each in results(model, held, 0)]
    for quantizer, made in [*quantized(model, given), ("(float32)", model)]:
        found = compared(wanted, map(classes, results(made, held, 0)), labels)
        shares = found.error, found.agreement, found.correct_after
        yield quantizer, *("" if each is None else f"{100 * each:.1f}" for each in shares)


def classes(result: list[np.ndarray]) -> list[np.ndarray]:
    """Return what a network says of each class, of each place in a line as of an image."""
    return [result[0].reshape(-1, result[0].shape[-1])]


def quantized(model: ModelProto, given: Samples) -> Iterator[tuple[str, ModelProto]]:
    """Yield what each quantizer makes of a model."""
    for how in CALIBRATIONS:
        found = ranges(model, given.batches(), how)
        for fused in (False, True):
            made = Quantizer(model=model, ranges=found, fused=fused).without(())
            yield f"depthwise quantize --calibration {how}{' --fused' * fused}", made
    yield "onnxruntime.quantization, its own places", by_runtime(model, given)
    if find_spec("nncf") is not None:
        yield "nncf.quantize", by_nncf(model, given)


def by_runtime(model: ModelProto, given: Samples) -> ModelProto:
    """Return a model with Q/DQ wherever ONNX Runtime's quantizer puts them by itself."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        batches = given.batches()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "quantized.onnx"
        quantize_static(
            copy.deepcopy(model), file, Reader(), per_channel=True,  # it changes what it is given
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(file)


def by_nncf(model: ModelProto, given: Samples) -> ModelProto:
    """Return what NNCF makes of a model."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    images = [{"x": each[None]} for each in given.arrays["x"]]
    made: ModelProto = nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))
    return made


def lines(rng: np.random.Generator, count: int, width: int) -> tuple[Samples, np.ndarray]:
    """Return lines of text, and which of them are upside down."""
    turned = rng.integers(0, 2, count)
    images = np.stack([line(rng, width, upside_down=bool(each)) for each in turned])
    return Samples({"x": images}, None, 4), turned


def line(rng: np.random.Generator, width: int, *, upside_down: bool) -> np.ndarray:
    """Return a line of text, (3, HEIGHT, width) from -1 to 1, blank at its right."""
    text = " ".join(rng.choice(WORDS, rng.integers(1, 5)))
    font = ImageFont.truetype(str(FONTS[rng.integers(len(FONTS))]), int(rng.integers(18, 34)))
    _, _, right, bottom = map(int, font.getbbox(text))
    image = Image.new("RGB", (right + 12, bottom + 12), _colour(rng, 120, 256))
    ImageDraw.Draw(image).text((6, 4), text, font=font, fill=_colour(rng, 0, 110))
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
    across = min(width, round(HEIGHT * image.width / image.height))
    image = image.rotate(180 * upside_down).resize((across, HEIGHT))
    noisy = np.asarray(image) + rng.normal(0, rng.uniform(0, 12), (HEIGHT, across, 3))
    result = np.zeros((3, HEIGHT, width), np.float32)
    result[:, :, :across] = (np.clip(noisy, 0, 255) / 127.5 - 1).transpose(2, 0, 1)
    return result


def _colour(rng: np.random.Generator, low: int, high: int) -> tuple[int, ...]:
    return tuple(int(each) for each in rng.integers(low, high, 3))


if __name__ == "__main__":
    main()
