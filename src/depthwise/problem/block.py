"""The problem of a block: expand (or none), depthwise, project, computed as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from depthwise.errors import SpecError
from depthwise.problem.pitches import Pitches
from depthwise.problem.problem import Problem, Specification
from depthwise.problem.spec import ConvSpec
from depthwise.problem.text import block_text, errors_with
from depthwise.problem.values import MAX_ELEMENTS, flag, shown, whole, word
from depthwise.problem.vocabulary import ACTIVATIONS, Activation, Layout, Pair

BlockKind = Literal["separable", "inverted"]


@dataclass(frozen=True, kw_only=True)
class SqueezeExcite:
    """The gate of a squeeze-and-excite block (Hu et al. 2018, Squeeze-and-Excitation Networks).

    Images (N, D, OH, OW) are multiplied, channel by channel, with factors (N, D)::

        gate(expand(activation(reduce(mean over the pixels))))

    where reduce is a dense layer from D to S = `channels` values, and expand one back to D.
    """

    channels: int
    activation: Activation = "relu"
    gate: Activation = "sigmoid"

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", whole("squeeze-and-excite channels", self.channels))
        if self.channels < 1:
            raise SpecError(f"squeeze-and-excite channels are at least 1; got {self.channels}")
        word("squeeze-and-excite activation", self.activation, ACTIVATIONS)
        word("squeeze-and-excite gate", self.gate, ACTIVATIONS)

    def __str__(self) -> str:
        default = (self.activation, self.gate) == ("relu", "sigmoid")
        return f"se{self.channels}" + ("" if default else f":{self.activation}/{self.gate}")


@dataclass(frozen=True, kw_only=True)
class BlockSpec(Specification):
    """A chain of convolutions computed as one: expand (or none), depthwise, project.

    `kind` is "separable" (depthwise, then pointwise) or "inverted" (an inverted residual).
    A residual is added to the project's output (`project.residual`).

    Raises:
        SpecError: the parts do not follow one another.
    """

    kind: BlockKind
    expand: ConvSpec | None
    depthwise: ConvSpec
    project: ConvSpec
    squeeze_excite: SqueezeExcite | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if name != "kind"}
        with errors_with(self.kind, given):
            word("kind", self.kind, get_args(BlockKind))
            for name, value, allowed in _part_types(self):
                if not isinstance(value, allowed):
                    raise SpecError(f"{name} is a {allowed[0].__name__}; got {shown(value)}")
        for rule, values in _broken_block_rules(self):
            raise SpecError(f"{rule}; got {values}: {self}")

    @classmethod
    def separable(
        cls,
        channels: int,
        out_channels: int,
        size: int | Pair,
        kernel: int | Pair,
        *,
        depthwise_bias: bool = False,
        pointwise_bias: bool = False,
        depthwise_activation: Activation | None = None,
        activation: Activation | None = None,
        residual: bool = False,
        **fields: Any,
    ) -> BlockSpec:
        """Return a depthwise convolution, then a pointwise one.

        From (N, C, H, W) to (N, C * multiplier, OH, OW) to (N, O, OH, OW).  `fields` are those of
        `ConvSpec.depthwise`.
        """
        depthwise = ConvSpec.depthwise(
            channels, size, kernel, bias=depthwise_bias, activation=depthwise_activation, **fields
        )
        project = _following(depthwise, out_channels, pointwise_bias, activation, residual)
        return cls(kind="separable", expand=None, depthwise=depthwise, project=project)

    @classmethod
    def inverted(
        cls,
        channels: int,
        out_channels: int,
        size: int | Pair,
        kernel: int | Pair,
        *,
        expanded: int | None = None,
        expand_bias: bool = False,
        depthwise_bias: bool = False,
        project_bias: bool = False,
        activation: Activation | None = None,
        residual: bool = False,
        squeeze_excite: SqueezeExcite | None = None,
        **fields: Any,
    ) -> BlockSpec:
        """Return an inverted residual: a pointwise convolution, a depthwise and a pointwise one.

        From (N, C, H, W) to (N, `expanded`, H, W), which None leaves out, to (N, D, OH, OW), with D
        `multiplier` times as many, to (N, O, OH, OW).  The activation follows the first two; the
        last, the projection, is linear.  `fields` are those of `ConvSpec.depthwise`.
        """
        given = {"channels": channels, "out_channels": out_channels, "size": size, "kernel": kernel}
        with errors_with("inverted", given):
            flag("expand_bias", expand_bias)
            if expanded is None and expand_bias:
                raise SpecError("an expand_bias needs an expansion; got expanded=None")
        depthwise = ConvSpec.depthwise(
            channels if expanded is None else expanded,
            size, kernel, bias=depthwise_bias, activation=activation, **fields,
        )  # fmt: skip
        expand = None
        if expanded is not None:
            shared = {name: getattr(depthwise, name) for name in ("batch", "layout", "dtype")}
            expand = ConvSpec.pointwise(
                channels, expanded, size, bias=expand_bias, activation=activation, **shared
            )
        project = _following(depthwise, out_channels, project_bias, None, residual)
        return cls(
            kind="inverted", expand=expand, depthwise=depthwise, project=project,
            squeeze_excite=squeeze_excite,
        )  # fmt: skip

    @property
    def named_parts(self) -> dict[str, ConvSpec]:
        """The convolutions in the order in which they run, by the names that operands give them."""
        last = "pointwise" if self.kind == "separable" else "project"
        parts = {"expand": self.expand, "depthwise": self.depthwise, last: self.project}
        return {name: part for name, part in parts.items() if part}

    @property
    def pitches(self) -> Pitches:
        """Those of the input, of the residual and of the output."""
        return tuple(sorted(pair for part in self.parts for pair in part.pitches))

    @property
    def may_be_runs(self) -> tuple[str, ...]:
        """x, y and the residual of channels-last images."""
        return self.project.may_be_runs

    def pitched(self, pitches: Mapping[str, int]) -> BlockSpec:
        """Return the same block of runs of channels; see `Layer.pitched`."""
        first = "depthwise" if self.expand is None else "expand"
        taken = {name: pitch for name, pitch in pitches.items() if name == "x"}
        others = {name: pitch for name, pitch in pitches.items() if name != "x"}
        parts: dict[str, Any] = {first: self.parts[0].pitched(taken)}
        return replace(self, **parts, project=self.project.pitched(others))

    @property
    def parts(self) -> tuple[ConvSpec, ...]:
        """The convolutions in the order in which they run."""
        return tuple(self.named_parts.values())

    @property
    def batch(self) -> int:
        """Images at once."""
        return self.depthwise.batch

    @property
    def layout(self) -> Layout:
        """The layout of input, output and residual."""
        return self.depthwise.layout

    @property
    def dtype(self) -> str:
        """The name of the element type of every array."""
        return self.depthwise.dtype

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, H, W) or (N, H, W, C), as the layout is."""
        return self.parts[0].input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, O, OH, OW) or (N, OH, OW, O), as the layout is."""
        return self.project.output_shape

    @property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The arrays beside the input, in the order of a call, as far as there are, with shapes.

        `NAME_weight` of each part, `NAME_bias` of each part, of a gate `se_reduce_weight` (S, D),
        `se_reduce_bias` (S,), `se_expand_weight` (D, S) and `se_expand_bias` (D,), and `residual`,
        of the output's shape.
        """
        parts = self.named_parts.items()
        shapes = {f"{name}_weight": part.weight_shape for name, part in parts}
        shapes |= {f"{name}_bias": (part.out_channels,) for name, part in parts if part.bias}
        if self.squeeze_excite:
            wide, narrow = self.depthwise.out_channels, self.squeeze_excite.channels
            shapes |= {"se_reduce_weight": (narrow, wide), "se_reduce_bias": (narrow,)}
            shapes |= {"se_expand_weight": (wide, narrow), "se_expand_bias": (wide,)}
        if self.project.residual:
            shapes["residual"] = self.output_shape
        return shapes

    def resized(self, batch: int, height: int, width: int) -> BlockSpec:
        """Return the same block for so many images of this size; see `Layer.resized`."""
        parts: dict[str, Any] = {}
        for name in ("expand", "depthwise", "project"):
            part: ConvSpec | None = getattr(self, name)
            if part is not None:
                parts[name] = now = part.resized(batch, height, width)
                height, width = now.out_height, now.out_width
        return replace(self, **parts)

    def __str__(self) -> str:
        return block_text(self)


def _following(
    before: ConvSpec, out_channels: int, bias: bool, activation: Activation | None, residual: bool
) -> ConvSpec:
    return ConvSpec.pointwise(
        before.out_channels, out_channels, (before.out_height, before.out_width), bias=bias,
        activation=activation, residual=residual, batch=before.batch, layout=before.layout,
        dtype=before.dtype,
    )  # fmt: skip


def _part_types(b: BlockSpec) -> Iterator[tuple[str, object, tuple[type, ...]]]:
    yield "expand", b.expand, (ConvSpec, type(None))
    yield "depthwise", b.depthwise, (ConvSpec,)
    yield "project", b.project, (ConvSpec,)
    yield "squeeze_excite", b.squeeze_excite, (SqueezeExcite, type(None))


def _broken_block_rules(b: BlockSpec) -> Iterator[tuple[str, object]]:
    if b.kind == "separable" and (b.expand or b.squeeze_excite):
        yield "a separable block has neither an expansion nor a gate", b.expand or b.squeeze_excite
    if quantized := [str(part) for part in b.parts if part.quantized]:
        yield "the parts of a block are of real numbers", ", ".join(quantized)
    kinds = tuple(part.kind for part in b.parts)
    if kinds[-2:] != ("depthwise", "pointwise") or kinds[:-2] not in ((), ("pointwise",)):
        yield "the parts are pointwise or none, depthwise, pointwise", kinds
    for before, after in zip(b.parts, b.parts[1:], strict=False):
        if (before.output_shape, before.layout, before.dtype) != (
            after.input_shape, after.layout, after.dtype,
        ):  # fmt: skip
            yield "each part takes what the one before gives", f"{before} -> {after}"
    between = [
        *(pair for part in b.parts[:-1] for pair in part.pitches if pair[0] != "x"),
        *(pair for part in b.parts[1:] for pair in part.pitches if pair[0] == "x"),
    ]
    if between:
        yield "what lies between the parts is whole", between
    if any(part.chain for part in b.parts):
        yield "no functions of each element stand behind a part", [str(part) for part in b.parts]
    if any(part.residual for part in b.parts[:-1]):
        yield "only the last part takes a residual", [str(part) for part in b.parts]
    if b.kind == "inverted" and b.project.activation:
        yield "the projection of an inverted residual is linear", b.project.activation
    if b.expand and b.expand.activation != b.depthwise.activation:
        activations = b.expand.activation, b.depthwise.activation
        yield "one activation serves expansion and depthwise", activations
    if b.squeeze_excite:
        weight = b.squeeze_excite.channels * b.depthwise.out_channels
        if weight > MAX_ELEMENTS:
            yield (
                f"no array has more than {MAX_ELEMENTS} elements",
                f"squeeze-and-excite weight of {weight}",
            )


Forward: TypeAlias = "ConvSpec | BlockSpec"


def forward_only(spec: Problem, what: str) -> Forward:
    """Return a problem that is a convolution or a block.

    Args:
        spec: the problem.
        what: is done for such problems alone, as the error says it: "a search".

    Raises:
        SpecError: it is something else.
    """
    if not isinstance(spec, (ConvSpec, BlockSpec)):
        raise SpecError(f"{what} is one of a convolution or a block; got {spec}")
    return spec
