"""`quantize`: from a file of a network in float32 to one that computes with whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from depthwise.errors import ModelError, installs

if TYPE_CHECKING:
    from depthwise.loading import Source
    from depthwise.onnx.quantizing import Quantized
    from depthwise.onnx.samples import Data


def quantize(
    source: Source,
    data: Data,
    *,
    labels: Any = None,
    test: Data | None = None,
    calibration: Literal["minmax", "entropy", "percentile"] = "percentile",
    keep_float: Sequence[str] = (),
    tolerance: float | None = None,
    reduce_range: bool = False,
    fused: bool = False,
    size: tuple[int, int] | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    threads: int | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Quantized:
    """Return a network whose convolutions and products are computed with whole numbers.

    Activations become uint8, with a scale and a zero point for each value, weights int8 with a
    scale for each output channel, biases int32.  The model is in ONNX's form of this, with
    QuantizeLinear and DequantizeLinear around what is quantized.

    Args:
        source: a file of ONNX in float32, its content, or a `ModelProto`.
        data: what the network is given, as it is in use, a hundred images or so: an array for each
            input by its name, images first, or the array of the only one; a file .npz of such
            arrays; a file .npy; or a folder of images, or of files .npy.
        labels: the class of each image that results are compared with, whole numbers (N,); None:
            the array `labels` of the .npz, if there is one.
        test: what the results are compared with, as `data`; None: `data`.
        calibration: how the range of each value is found: "minmax", all values; "percentile",
            99.999% of them; "entropy", where most of the information is.
        keep_float: the names of layers that are left in float; `*` stands for any letters.
        tolerance: the relative error that the results may have; layers that cost most are left in
            float until they have no more.  None: none is for that.
        reduce_range: cut weights to 7 bits, for ONNX Runtime on CPUs with AVX2 but without VNNI,
            where its sums saturate.  Kernels of this package never do.
        fused: quantize nothing between a layer and its activation.  This is nearer to float32 as a
            rule, but slower where the activation is neither ReLU nor Clip.
        size: height and width of images, where the network takes any.
        mean: of each channel or of all, subtracted from pixels between 0 and 1.
        std: of each channel or of all, by which these are divided.
        threads: how many threads the comparisons use; None is as many as there are cores.
        step: called before each piece of work with words that name it.

    Raises:
        ModelError: it is no such model, is quantized already, or has nothing to quantize; a file
            cannot be read; or no layers would be left to quantize.
        ArrayError: data or labels do not fit the network, are not finite, or all the same.
        SpecError: a calibration, tolerance or number of threads that there is not.
    """
    try:
        from depthwise.onnx import quantizing
        from depthwise.onnx.pictures import Pictures
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModelError(
            f"models of ONNX are read by its own library; it is not installed: {installs('onnx')}"
        ) from None

    options = quantizing.Options(
        labels=labels, test=test, calibration=calibration, keep_float=keep_float,
        tolerance=tolerance, reduce_range=reduce_range, fused=fused,
        pictures=Pictures(size=size, mean=mean, std=std), threads=threads, step=step,
    )  # fmt: skip
    return quantizing.quantize_model(source, data, options)
