"""From a model of ONNX to a `network` graph."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, NodeProto

from depthwise.errors import ModelError
from depthwise.network.graph import FIXED, Graph, Node, Value
from depthwise.network.operators import Foreign
from depthwise.onnx.attributes import Given
from depthwise.onnx.channels import parts
from depthwise.onnx.inference import CHANCE, Inferred, dtype_of, inferred, settle
from depthwise.onnx.meanings import meaning
from depthwise.onnx.operators import read
from depthwise.onnx.writing import Dialect, captured_names

_OF_SHAPES = ("Shape", "Size")
_EXAMPLES = ((224, 16), (256, 1024), (512, 16384))
"""What an open height or width may be in an example, and any other open size but the batch, which
is 1: the first for which the nodes of a model fit together."""
_OTHER, _OTHER_LENGTH = 64, 4096
"""By how much another height or width, or another length, differs, to see what depends on it.

(Sound is often cut into windows that begin some hundred samples apart.)
"""


def imported(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Graph, Dialect]:
    """Return the graph of a model, and what the model was written in.

    Args:
        model: a sound model.
        shapes: of the inputs, for the example.

    Raises:
        ModelError: the shapes are not the model's.
    """
    opsets = {
        each.domain if each.domain != "ai.onnx" else "": each.version for each in model.opset_import
    }
    example, known = _first_that_fits(model, shapes or {})
    others = _others(model, example)
    seen = known if others == example else _another_that_fits(model, example)
    if seen is not None and seen is not known:
        settle(model, known, seen)
    dialect = Dialect(opsets, max(model.ir_version, 3), known.types)
    return _Import(model, known, seen, dialect).graph, dialect


def _first_that_fits(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, tuple[int, ...]], Inferred]:
    """Return an example of a model's inputs, and what is known for it."""
    failure: ModelError | None = None
    tried: list[dict[str, tuple[int, ...]]] = []
    for usual in _EXAMPLES:
        example = _example(model, shapes, *usual)
        if example in tried:
            continue
        tried.append(example)
        try:
            return example, _known(model, example, fixed=_others(model, example) == example)
        except ModelError as error:
            failure = failure or error
    assert failure is not None
    if len(tried) == 1:
        raise failure
    sides = ", ".join(str(side) for side, _ in _EXAMPLES)
    raise ModelError(
        f"the sizes that a model leaves open may be {sides} (say with inputs= which they may be, "
        f"as in inputs={{'x': (1, 3, 48, 320)}}); {failure}"
    ) from failure


def _another_that_fits(
    model: ModelProto, example: Mapping[str, tuple[int, ...]]
) -> Inferred | None:
    """Return what is known for other sizes: all that are open, or else all but one of them.

    (Texts that are read, say, are as long as they are, but of one height.)
    """
    words = {word for name in example for word in open_axes(model, name).values()}
    tried: list[dict[str, tuple[int, ...]]] = []
    for kept in (None, *sorted(words)):
        for length in (_OTHER_LENGTH, _OTHER):
            others = _others(model, example, kept, length)
            found = None if others in tried else _if_it_fits(model, others)
            if found is not None:
                return found
            tried.append(others)
    return None


def _if_it_fits(model: ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> Inferred | None:
    try:
        return _known(model, sizes, fixed=False)
    except ModelError:
        return None


def _known(model: ModelProto, sizes: Mapping[str, tuple[int, ...]], *, fixed: bool) -> Inferred:
    """Return what is known of a model for inputs of these shapes, the shapes of all values too.

    Those that depend on what is computed of sizes are found where these are taken to be constants.
    """
    found = inferred(model, sizes, fixed=fixed)
    made = {name for node in found.nodes for name in node.output if name}
    if not fixed and not made <= set(found.shapes):
        for_these = inferred(model, sizes, fixed=True)
        found.shapes = {**_shapes_of(for_these), **found.shapes}
        found.types = {**for_these.types, **found.types}
    return found


def _shapes_of(known: Inferred) -> dict[str, tuple[int, ...]]:
    return {**{name: array.shape for name, array in known.constants.items()}, **known.shapes}


def open_axes(model: ModelProto, name: str) -> dict[int, str]:
    """Return the axes of an input whose size may be any, with the word for it."""
    port = next(each for each in model.graph.input if each.name == name)
    return {
        axis: size.dim_param if _is_word(size.dim_param) else f"{name}.{axis}"
        for axis, size in enumerate(port.type.tensor_type.shape.dim)
        if not (size.HasField("dim_value") and size.dim_value > 0)
    }


def _is_word(text: object) -> bool:
    """Whether a name is one; bytes are none, which a file may have in place of text."""
    return isinstance(text, str) and text.isidentifier()


def input_names(model: ModelProto) -> list[str]:
    """Return the names of what a model is called with."""
    given = {each.name for each in model.graph.initializer}
    return [each.name for each in model.graph.input if each.name not in given]


def _example(
    model: ModelProto, given: Mapping[str, tuple[int, ...]], side: int, length: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs: those given, and what open sizes of others may be."""
    names = input_names(model)
    if strange := [name for name in given if name not in names]:
        raise ModelError(
            f"the inputs of the model are {', '.join(names)}; got {', '.join(strange)}"
        )
    found: dict[str, tuple[int, ...]] = {}
    words: dict[str, int] = {}
    for port in model.graph.input:
        kind = port.type.tensor_type
        if (
            port.name not in names
            or not port.type.HasField("tensor_type")
            or not kind.HasField("shape")
        ):
            continue
        sizes = [size.dim_value for size in kind.shape.dim]
        shape = given.get(port.name)
        if shape is not None:
            _check(port.name, sizes, tuple(shape))
        anyway = open_axes(model, port.name)
        for axis, word in anyway.items():
            usual = 1 if axis == 0 else side if len(sizes) == 4 and axis > 1 else length
            sizes[axis] = shape[axis] if shape is not None else words.get(word, usual)
            if words.setdefault(word, sizes[axis]) != sizes[axis]:
                raise ModelError(
                    f"sizes that the model calls by one word are equal; got {words[word]} and "
                    f"{sizes[axis]} for {word!r}"
                )
        found[port.name] = tuple(sizes)
    return found


def _check(name: str, sizes: list[int], shape: tuple[int, ...]) -> None:
    fits = len(sizes) == len(shape) and all(
        size <= 0 or size == given for size, given in zip(sizes, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) if size > 0 else "any" for size in sizes)
        raise ModelError(f"input {name!r} of the model has the sizes ({wanted}); got {shape}")


def _others(
    model: ModelProto, example: Mapping[str, tuple[int, ...]], kept: str | None = None,
    length: int = _OTHER,
) -> dict[str, tuple[int, ...]]:  # fmt: skip
    """Return other shapes that the inputs may have: sizes that may differ from others do.

    Args:
        model: a sound model.
        example: shapes that the inputs may have.
        kept: the word for sizes that stay as they are.
        length: by how much lengths differ, which are the sizes of what is no image.
    """
    found: dict[str, tuple[int, ...]] = {}
    words: dict[str, int] = {}
    for name, shape in example.items():
        sizes = list(shape)
        for axis, word in open_axes(model, name).items():
            if word == kept:
                continue
            step = 1 if axis == 0 else _OTHER if len(shape) == 4 else length
            sizes[axis] = words.setdefault(word, sizes[axis] + step * (len(words) + 1))
        found[name] = tuple(sizes)
    return found


class _Import:
    """Reads the nodes of a model in their order."""

    def __init__(
        self, model: ModelProto, known: Inferred, seen: Inferred | None, dialect: Dialect
    ) -> None:
        self._model, self._known, self._seen, self._dialect = model, known, seen, dialect
        self._values: dict[str, Value] = {}
        self.graph = Graph()
        for name in input_names(model):
            self.graph.inputs.append(self._value(name))
        for node in known.nodes:
            self._read(node)
        for port in model.graph.output:
            self.graph.outputs.append(self._value(port.name))
            self.graph.names.append(port.name)
        left = {name for node in known.nodes for name in node.output}
        folded = (node for node in model.graph.node if left.isdisjoint(node.output))
        self.graph.drop(map(_called, folded), FIXED)

    def _value(self, name: str) -> Value:
        if name not in self._values:
            constant = self._known.constants.get(name)
            if constant is not None:
                codes = self._known.codes.get(name)
                made = Value(
                    name, constant.shape, constant.shape, constant.dtype.name, constant, codes
                )
            else:
                shape = self._known.shapes.get(name)
                kind = dtype_of(self._known.types.get(name))
                made = Value(name, shape, self._sizes(name, shape), kind)
            self._values[name] = made
        return self._values[name]

    def _sizes(self, name: str, shape: tuple[int, ...] | None) -> tuple[int | str, ...] | None:
        """Return the sizes of a value, with a word for each that is another for other inputs."""
        if self._seen is None:
            others: tuple[int, ...] | None = None
        else:
            others = self._seen.shapes.get(name)
        if shape is None:
            return None
        if others is None or len(others) != len(shape):
            return tuple(f"{name}.{axis}" for axis in range(len(shape)))
        return tuple(
            size if size == other else f"{size} or {other}"
            for size, other in zip(shape, others, strict=True)
        )

    def _read(self, proto: NodeProto) -> None:
        names = [*proto.input, *captured_names(proto)]
        inputs = [self._value(name) if name else None for name in names]
        outputs = [self._value(name) for name in proto.output if name]
        called = _called(proto)
        given = Given(proto, inputs, outputs, self._dialect.opset)
        if found_parts := parts(given):
            for part, output in zip(found_parts, outputs, strict=True):
                self.graph.add(Node(part, inputs[:1], [output], [called]))
            return
        found = read(given) if len(inputs) == len(proto.input) else None
        if found is not None:
            operator, inputs = found
            self.graph.add(Node(operator, list(inputs), outputs, [called]))
            return
        foreign = Foreign(
            called=proto.op_type,
            payload=proto.SerializeToString(),
            of_shapes=proto.op_type in _OF_SHAPES and not proto.domain,
            repeatable=proto.op_type not in CHANCE,
            meaning=meaning(given),
        )
        self.graph.add(Node(foreign, inputs, outputs, [called]))


def _called(node: NodeProto) -> str:
    """Return the name of a node, or what stands for one that has none."""
    return str(node.name) or f"{node.op_type} {next(iter(node.output), '')}".strip()
