"""`load`: from any file of a network to one that is ready to be called."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from depthwise.errors import ModelError, installs
from depthwise.machine import team
from depthwise.network.engine import Engine
from depthwise.network.network import Network
from depthwise.network.prepare import Told
from depthwise.network.saved.container import HEAD_BYTES, begins_one

if TYPE_CHECKING:
    from onnx import ModelProto

Source = Union["str", "os.PathLike[str]", "bytes", "ModelProto"]
Shapes = Union["Mapping[str, tuple[int, ...]]", "Sequence[tuple[int, ...]]"]


def load(
    source: Source,
    *,
    inputs: Shapes | None = None,
    threads: int | None = None,
    trust: bool = False,
    step: Told = lambda _: None,
) -> Network:
    """Return a trained network on this package's kernels.

    The kernels for inputs whose sizes are known are compiled, or found in the cache.

    Args:
        source: a file of ONNX, of TFLite or of `Network.save`, whatever it is called; its content,
            as bytes; or a `ModelProto` of ONNX.
        inputs: the shape of each input by its name, e.g. {"x": (1, 3, 224, 224)}, or of all in
            order, for which a model of ONNX or TFLite is prepared whose sizes are open; they stay
            open.
        threads: how many threads a call uses; None is as many as there are cores.
        trust: run the machine code in a file of `Network.save(with_code=True)`, which can do all
            that this process can.
        step: called before each piece of work with words that name it.

    Raises:
        ModelError: it is no such file, or damaged, or of another version.
        SpecError: there cannot be so many threads.
        OSError: it cannot be read.
    """
    team.thread_count(threads, "a network")
    if isinstance(source, (str, os.PathLike)) and not os.path.isfile(source):
        source = Path(source).read_bytes()  # of a pipe, which is read once
    net = read(source, inputs, threads, trust)
    is_saved = isinstance(source, (str, os.PathLike, bytes)) and begins_one(_head(source))
    return _made_ready(net, step, known=inputs is not None and not is_saved)


def read(
    source: Source, inputs: Shapes | None = None, threads: int | None = None, trust: bool = False
) -> Network:
    """Return a network of which no kernel is compiled yet; see `load`."""
    if isinstance(source, (str, os.PathLike, bytes)):
        if begins_one(_head(source)):
            return _saved(source, inputs, threads, trust)
        if of_tflite(source):
            return _of_tflite(source, inputs, threads)
    return _of_onnx(source, inputs, threads)


def of_tflite(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether a file, or its content, is one of TFLite, which it says itself."""
    return _head(source)[4:8] == b"TFL3"


def _of_onnx(source: Source, inputs: Shapes | None, threads: int | None) -> Network:
    try:
        from depthwise.onnx.network import from_onnx
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ModelError(
            f"models of ONNX are read by its own library; it is not installed: {installs('onnx')}"
        ) from None

    return from_onnx(source, inputs, threads)


def _of_tflite(
    source: str | os.PathLike[str] | bytes, inputs: Shapes | None, threads: int | None
) -> Network:
    try:
        from depthwise.tflite.network import from_tflite
    except ModuleNotFoundError as error:
        if error.name not in ("tflite", "flatbuffers", "onnx"):
            raise
        raise ModelError(
            "files of TFLite are read by the packages tflite and onnx; "
            f"{error.name} is not installed: {installs('tflite')}"
        ) from None

    return from_tflite(source, inputs, threads)


def _made_ready(net: Network, step: Told, *, known: bool) -> Network:
    """Make a network ready for its example, where it is one: not where sizes of images are open."""
    sizes = [port.sizes for port in net.inputs]
    shapes = [net.program.shapes.get(number) for number in range(len(sizes))]
    anyway = any(isinstance(size, str) for each in sizes for size in (each or ())[1:])
    dtypes = [port.dtype for port in net.inputs]
    example = [
        np.zeros(shape, dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
        if shape is not None and dtype is not None
    ]
    if (known or not anyway) and len(example) == len(shapes):
        net.prepare(*example, step=step)
    return net


def _head(source: str | os.PathLike[str] | bytes) -> bytes:
    """Return how a file begins."""
    if isinstance(source, bytes):
        return source[:HEAD_BYTES]
    with open(source, "rb") as file:
        return file.read(HEAD_BYTES)


def _saved(
    source: str | os.PathLike[str] | bytes,
    inputs: Shapes | None,
    threads: int | None,
    trust: bool,
) -> Network:
    from depthwise.network.saved.file import program_in

    if inputs:
        raise ModelError(
            f"inputs are for models of ONNX; a saved network was prepared for some; got {inputs}"
        )
    return Network(program_in(source, ENGINES, trust=trust), threads)


def _onnxruntime() -> Engine:
    from depthwise.onnx.runtime import OnnxRuntime

    return OnnxRuntime()


def _torch() -> Engine:
    try:
        from depthwise.torch.network.engine import FileEngine
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModelError(
            "what no kernel computes of a network of torch is computed by torch; it is not "
            f"installed: {installs('torch')}"
        ) from None

    return FileEngine()


ENGINES: dict[str, Callable[[], Engine]] = {"onnxruntime": _onnxruntime, "torch": _torch}
"""What makes the engine of a saved network that leaves something to one, by its name."""
