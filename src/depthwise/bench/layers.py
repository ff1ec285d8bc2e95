"""Workloads: the layers of networks as data files, and the problems that they pose.

A layer file is a JSON list of objects with

- `c`, `h`, `w`: input channels, height and width; `k`: taps (all four required);
- `stride`, `dilation` (1), `pad` (0), `multiplier` (1);
- `pointwise_out`: output channels of the pointwise convolution that follows, null where none does;
- `prev_pointwise_in`: input channels of the pointwise convolution before, null where there is none;
- `bias` (false) and `activation` (null) of the depthwise convolution;
- `pointwise_activation` (null): of the pointwise convolution that follows;
- `block`: "inverted" where the three convolutions are an inverted residual, one without expansion
  if `prev_pointwise_in` is null, or "separable"; null, the default, means "inverted" where
  `prev_pointwise_in` and `pointwise_out` are given;
- `batch` (1): how many times the images of the command this layer has; `state` (0): elements of the
  state of a sequence;
- `model` and `name`, for people.

`k`, `stride`, `pad` and `dilation` are one number or [h, w]; `pad` also [[top, bottom], [left,
right]].  The named workloads are such files in this package; `blocks` and `training` are several of
them.

A layer poses a depthwise convolution, and each pass of training through it; with a `pointwise_out`
also a separable block; with `block` "inverted" also an inverted residual, which adds its input to
its output where the two are of one shape and the stride is 1.  One whose `h` is 1 and whose `pad`
lets no output read ahead also poses a causal convolution, with its own bias and with its `state`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from depthwise.errors import DepthwiseError, LayerFileError, SpecError
from depthwise.problem.block import BlockKind, BlockSpec
from depthwise.problem.causal import CausalSpec
from depthwise.problem.dtypes import DEFAULT, QUANTIZED
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassKind, PassSpec
from depthwise.problem.values import meant, shown, whole, word
from depthwise.problem.vocabulary import Activation, Layout, Padding, Pair

Op = Literal["depthwise", "separable", "inverted", "causal", PassKind]
Epilogue = Literal["none", "network"]

FOLDER = Path(__file__).parent / "workloads"
COLLECTIONS = {
    "blocks": ("seeds", "mobilenet_v1", "mobilenet_v2", "efficientnet_b0"),
    "training": ("mobilenet_v2", "efficientnet_b0", "convnext_tiny"),
}
"""Names for several workloads, one after the other."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One depthwise convolution of a network, with what stands before and behind it."""

    c: int
    h: int
    w: int
    k: int | Pair
    stride: int | Pair = 1
    pad: Padding = 0
    dilation: int | Pair = 1
    multiplier: int = 1
    pointwise_out: int | None = None
    prev_pointwise_in: int | None = None
    bias: bool = False
    activation: Activation | None = None
    pointwise_activation: Activation | None = None
    block: BlockKind | None = None
    batch: int = 1
    state: int = 0
    model: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("model", "name"):
            value = getattr(self, name)
            if not (isinstance(value, str) and value.isprintable()):
                raise SpecError(f"{name} is printable text; got {shown(value)}")
        for name in ("pointwise_out", "prev_pointwise_in"):
            channels = getattr(self, name)
            if channels is not None and whole(name, channels) < 1:
                raise SpecError(f"{name} is at least 1, or null; got {channels}")
        if whole("batch", self.batch) < 1 or whole("state", self.state) < 0:
            raise SpecError(
                f"batch is at least 1, and state no less than 0; got {self.batch}, {self.state}"
            )
        if self.block is not None:
            word("block", self.block, get_args(BlockKind))
            if self.pointwise_out is None:
                raise SpecError(f"a block has a pointwise_out; got null: {self.title}")
        if self.poses("inverted") and self.pointwise_activation:
            raise SpecError(
                "the projection of an inverted residual is linear; got pointwise_activation "
                f"{self.pointwise_activation!r} without block 'separable'"
            )
        for op in get_args(Op):
            if self.poses(op):
                self.problem(op, epilogue="network")

    @property
    def title(self) -> str:
        """Model and name, as far as they are given."""
        return f"{self.model} {self.name}".strip()

    def poses(self, op: Op) -> bool:
        """Whether this layer is part of a problem of this kind."""
        if op == "separable":
            return self.pointwise_out is not None
        if op == "causal":
            return self._is_causal
        if op != "inverted":
            return True
        expands = self.block is None and self.prev_pointwise_in is not None
        return self.pointwise_out is not None and (self.block == "inverted" or expands)

    @property
    def _is_causal(self) -> bool:
        """Whether it is a convolution of sequences whose outputs read nothing ahead."""
        window = self._convolution()
        (_, taps), (_, along) = window.kernel, window.dilation
        flat = (window.height, window.kernel[0], window.stride, self.multiplier)
        reach = (0, 0), (along * (taps - 1), 0)
        return flat == (1, 1, (1, 1), 1) and window.padding == reach

    def problem(
        self,
        op: Op,
        *,
        batch: int = 1,
        dtype: str = DEFAULT,
        layout: str | None = None,
        epilogue: Epilogue = "none",
    ) -> Problem:
        """Return what this layer asks of an engine.

        Args:
            op: "depthwise" for the convolution alone, "separable" with the pointwise one after it,
                "inverted" with those before and after it, "causal" with its state, or a pass of
                training through it.
            batch: images at once, where the layer has one.
            dtype: the element type.
            layout: "NCHW" or "NHWC"; None is the usual one of the element type.
            epilogue: "none", or "network": a bias after each convolution (its own or that of the
                folded normalisation), and the network's activations, which of whole numbers are
                bounds that they have anyway.  In training and of causal ones, where nothing is
                folded, a bias where the convolution has its own.

        Raises:
            SpecError: the problem cannot exist, or the layer poses none of this kind.
        """
        network = epilogue == "network"
        window: dict[str, Any] = {
            "stride": self.stride, "padding": self.pad, "dilation": self.dilation,
            "multiplier": self.multiplier, "batch": batch * self.batch, "dtype": dtype,
            "layout": layout or usual_layout(dtype),
        }  # fmt: skip
        if not self.poses(op):
            raise SpecError(f"a layer poses what it is part of; got {op} of {self.title}")
        if op == "separable":
            return self._separable(network, window)
        if op == "causal":
            return self._causal(network, **window)
        if op == "inverted":
            return self._inverted(network, window)
        if op == "depthwise":
            activates = network and dtype not in QUANTIZED
            activation = self.activation if activates else None
            return self._convolution(bias=network, activation=activation, **window)
        conv = self._convolution(bias=network and self.bias, **window)
        return PassSpec(kind=op, conv=conv)

    def _convolution(self, **fields: Any) -> ConvSpec:
        window = {"stride": self.stride, "padding": self.pad, "dilation": self.dilation}
        return ConvSpec.depthwise(self.c, (self.h, self.w), self.k, **window | fields)

    def _causal(self, network: bool, layout: str, batch: int, dtype: str, **_: Any) -> CausalSpec:
        conv = self._convolution()
        return CausalSpec(
            channels=self.c, length=self.w, kernel=conv.kernel[1], dilation=conv.dilation[1],
            batch=batch, layout=sequences_layout(layout), dtype=dtype, bias=network and self.bias,
            activation=self.activation if network else None, state=self.state,
        )  # fmt: skip

    def _separable(self, network: bool, window: dict[str, Any]) -> BlockSpec:
        assert self.pointwise_out is not None
        return BlockSpec.separable(
            self.c, self.pointwise_out, (self.h, self.w), self.k,
            depthwise_bias=network, depthwise_activation=self.activation if network else None,
            pointwise_bias=network, activation=self.pointwise_activation if network else None,
            **window,
        )  # fmt: skip

    def _inverted(self, network: bool, window: dict[str, Any]) -> BlockSpec:
        assert self.pointwise_out is not None
        expands = self.prev_pointwise_in is not None
        block = BlockSpec.inverted(
            self.prev_pointwise_in or self.c, self.pointwise_out, (self.h, self.w), self.k,
            expanded=self.c if expands else None, expand_bias=network and expands,
            depthwise_bias=network, project_bias=network,
            activation=self.activation if network else None, **window,
        )  # fmt: skip
        if block.depthwise.stride != (1, 1) or block.input_shape != block.output_shape:
            return block
        return replace(block, project=replace(block.project, residual=True))


def usual_layout(dtype: str) -> str:
    """Return the layout of arrays of an element type where none is asked for."""
    return "NHWC" if dtype in QUANTIZED else "NCHW"


def sequences_layout(layout: str) -> Layout:
    """Return the layout of sequences where images have another."""
    return "NLC" if layout == "NHWC" else "NCL"


def problems(layers: Iterable[Layer], op: Op, **options: Any) -> dict[Problem, str]:
    """Return each distinct problem of these layers with the titles of all layers that pose it.

    Args:
        layers: in the order in which to measure.
        op: as for `Layer.problem`; layers that pose nothing of this kind are left out.
        options: the further arguments of `Layer.problem`.

    Raises:
        SpecError: no layer poses a problem of this kind.
    """
    titles: dict[Problem, list[str]] = {}
    for layer in layers:
        if layer.poses(op):
            titles.setdefault(layer.problem(op, **options), []).append(layer.title)
    if not titles:
        raise SpecError(f"at least one layer poses a {op} problem; got none")
    return {spec: ", ".join(filter(None, names)) for spec, names in titles.items()}


def collect(
    texts: Sequence[str], name: str | None, file: Path | None, op: Op, **options: Any
) -> dict[Problem, str]:
    """Return the problems that a command is given, each with the titles of its layers.

    Args:
        texts: problems in their text form.
        name: a named workload.
        file: a layer file.
        op: what the layers of both pose.
        options: as for `problems`.

    Raises:
        LayerFileError: the workload or the file does not exist, or is not in the documented form.
        SpecError: there is no problem, or one that cannot exist.
    """
    given = workload(name) if name else []
    given += read_layers(file) if file else []
    if not texts and not given:
        raise SpecError("at least one problem, workload or layer file is given; got none of them")
    posed = problems(given, op, **options) if given else {}
    return dict.fromkeys(map(parse, texts), "") | posed


def workload_names() -> list[str]:
    """Return the names of the workloads that come with the package."""
    return sorted([*COLLECTIONS, *(file.stem for file in FOLDER.glob("*.json"))])


def workload(name: str) -> list[Layer]:
    """Return the layers of a named workload.

    Raises:
        LayerFileError: there is no workload of this name.
    """
    if name not in workload_names():
        known = ", ".join(workload_names())
        got = f"{name!r}{meant(name, workload_names())}"
        raise LayerFileError(f"a workload is one of {known}; got {got}")
    files = COLLECTIONS.get(name, (name,))
    return [layer for file in files for layer in read_layers(FOLDER / f"{file}.json")]


def read_layers(file: Path) -> list[Layer]:
    """Return the layers of a file; keys that mean nothing here are named in a warning.

    Raises:
        LayerFileError: the file is missing, or not in the form described above; the message names
            the file, the layer's index, the rule and the values.
    """
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LayerFileError(f"a layer file is readable JSON; got {error}: {file}") from error
    if not isinstance(records, list) or not records:
        found = "an empty list" if records == [] else type(records).__name__
        raise LayerFileError(f"a layer file is a list of at least one object; got {found}: {file}")
    layers = [_layer(file, index, record) for index, record in enumerate(records)]
    _warn_of_unread_keys(file, records)
    return layers


def _layer(file: Path, index: int, record: object) -> Layer:
    where = f"{file}, layer {index}"
    if not isinstance(record, dict):
        raise LayerFileError(f"a layer is an object; got {record!r}: {where}")
    if missing := [key for key in ("c", "h", "w", "k") if key not in record]:
        raise LayerFileError(f"a layer has c, h, w and k; got no {', '.join(missing)}: {where}")
    known = {key: _tuples(value) for key, value in record.items() if key in _keys()}
    try:
        return Layer(**known)
    except DepthwiseError as error:
        raise LayerFileError(f"{error}: {where}") from error


def _warn_of_unread_keys(file: Path, records: Sequence[dict[str, Any]]) -> None:
    if unread := {key: None for record in records for key in record if key not in _keys()}:
        warnings.warn(f"{file}: these keys are not read: {', '.join(unread)}", stacklevel=3)


def _keys() -> set[str]:
    return {field.name for field in fields(Layer)}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
