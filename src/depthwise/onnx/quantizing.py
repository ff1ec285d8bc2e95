"""From a model in float32 and some data to one in whole numbers, and a report of what that cost."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from onnx import ModelProto

from depthwise.errors import ModelError, SpecError, installs
from depthwise.files import check_writable, written
from depthwise.machine import team
from depthwise.onnx.accuracy import check_labels, compared, results
from depthwise.onnx.calibration import CALIBRATIONS, Calibration, ranges
from depthwise.onnx.files import model_of
from depthwise.onnx.pictures import Pictures
from depthwise.onnx.quantizable import layers
from depthwise.onnx.quantized_report import FLOAT, INT8, QuantizationReport, Row
from depthwise.onnx.quantizer import Quantizer, prepared
from depthwise.onnx.samples import Data, Samples, inputs_of, samples
from depthwise.onnx.tolerance import IMAGES, errors, left_in_float
from depthwise.onnx.versions import graphs_in
from depthwise.problem.arrays import Array
from depthwise.problem.values import meant, shown, word

_WHOLE = frozenset((
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QGemm",
    "QuantizeLinear",
))  # fmt: skip


@dataclass(frozen=True)
class Quantized:
    """A quantized network.

    Attributes:
        model: of ONNX, which `dw.load` takes.
        report: what quantizing it did.
    """

    model: ModelProto
    report: QuantizationReport

    def save(self, file: Path | str) -> None:
        """Write the model to a file of ONNX.

        Raises:
            DepthwiseError: it cannot be written.
        """
        check_writable(Path(file))
        with written(Path(file)) as content:
            content.write(self.model.SerializeToString())


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a network is quantized; see `depthwise.quantizing.quantize`."""

    labels: Any
    test: Data | None
    calibration: Calibration
    keep_float: Sequence[str]
    tolerance: float | None
    reduce_range: bool
    fused: bool
    pictures: Pictures
    threads: int | None
    step: Callable[[str], None]


def quantize_model(source: Any, data: Data, options: Options) -> Quantized:
    """Return a model quantized; see `depthwise.quantizing.quantize`."""
    _check(options)
    step = options.step
    model = model_of(source)
    _check_float(model)
    inputs = inputs_of(model)
    given = samples(data, inputs, options.pictures)
    held = given if options.test is None else samples(options.test, inputs, options.pictures)
    held = held.labelled(options.labels)
    step("fold")
    ready = prepared(model)
    own = layers(ready)
    if not own:
        raise ModelError(
            "a network that is quantized has convolutions or products with given weights of "
            f"float32; got none in {len(ready.graph.node)} nodes"
        )
    kept = _kept([each.name for each in own], options.keep_float)
    threads = team.thread_count(options.threads, "a network")
    check_labels(next(results(ready, held, threads))[0], held.labels)
    quantizer = Quantizer(
        model=ready,
        ranges=ranges(ready, _told(given, step), options.calibration),
        reduce_range=options.reduce_range,
        fused=options.fused,
    )
    few = given.some(IMAGES)
    costs = errors(quantizer, own, few, threads, step)

    def made(float_layers: Sequence[str]) -> tuple[ModelProto, Any]:
        step(f"compare with {len(float_layers)} layers in float")
        whole = quantizer.without(float_layers)
        return whole, compared(
            results(ready, held, threads), results(whole, held, threads), held.labels
        )

    if options.tolerance is not None:
        others = {name: cost for name, cost in costs.items() if name not in kept}
        kept += left_in_float(
            others, options.tolerance, lambda names: made([*kept, *names])[1].error
        )
    whole, accuracy = made(kept)
    report = QuantizationReport(
        layers=tuple(
            Row(
                name=each.name, kind=each.kind, dtype=FLOAT if each.name in kept else INT8,
                error=costs[each.name],
            )
            for each in own
        ),
        accuracy=accuracy,
        calibration=options.calibration,
        calibrated_images=given.count,
        layer_images=few.count,
        bytes_before=model.ByteSize(),
        bytes_after=whole.ByteSize(),
    )  # fmt: skip
    return Quantized(whole, report)


def _check(options: Options) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        raise ModelError(
            f"networks are quantized by ONNX Runtime's quantizer; it is not installed: "
            f"{installs('onnx')}"
        )
    word("calibration", options.calibration, CALIBRATIONS)
    if options.tolerance is not None and not options.tolerance > 0:
        raise SpecError(f"tolerance is a relative error above 0; got {shown(options.tolerance)}")


def _check_float(model: ModelProto) -> None:
    """Refuse a model that is quantized already."""
    found = sorted({name for name in _operators(model.graph) if _is_whole(name)})
    if found:
        raise ModelError(
            f"a network that is quantized is one of floats; this is quantized already: it has "
            f"{', '.join(found)}"
        )


def _operators(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for inner in graphs_in(node):
            yield from _operators(inner)


def _is_whole(operator: str) -> bool:
    return operator in _WHOLE or operator.startswith("QLinear")


def _kept(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the layers that some names or patterns name.

    Raises:
        ModelError: one names none, or all are named.
    """
    found: set[str] = set()
    for pattern in patterns:
        own = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not own:
            raise ModelError(
                f"layers left in float are among the network's, as the report names them; got "
                f"{shown(pattern)}{meant(pattern, names)}"
            )
        found |= own
    if len(found) == len(names):
        raise ModelError(f"some layer is quantized; got all {len(names)} to be left in float")
    return [name for name in names if name in found]


def _told(given: Samples, step: Callable[[str], None]) -> Iterator[Mapping[str, Array]]:
    for number, batch in enumerate(given.batches()):
        step(f"calibrate: image {number * given.batch + 1} of {given.count}")
        yield batch
