"""A network of TFLite written as a model of ONNX, operator by operator.

Images are channels-last in TFLite and (N, C, H, W) in ONNX.  A tensor may have either form here, or
both: what takes an image makes one, and is the next one's, so that few transpositions are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from depthwise.errors import ModelError
from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.problem.arrays import Array
from depthwise.tflite.files import File, Operator, Tensor, checked
from depthwise.tflite.variables import Variable, Variables

OPSET, OF_16_BITS, IR_VERSION = 20, 21, 10
"""Of what is written: the first opset with all operators, and with quantized numbers of 16 bits.

(Of the latter, ONNX Runtime 1.31 rewrites what is quantized behind a transposition wrongly.)
"""
Form: TypeAlias = Literal["plain", "image"]
"""The axes of an array: as TFLite has them, or (N, C, H, W)."""
Translate: TypeAlias = "Callable[[Site], None]"


class Translation:
    """Writes the operators of a network one after the other."""

    def __init__(self, network: File) -> None:
        self.network = network
        self.constants = {
            number: tensor.constant
            for number, tensor in enumerate(network.tensors)
            if tensor.constant is not None
        }
        """Those of the file, and what is known of others before a call."""
        self.nodes: list[NodeProto] = []
        self._arrays: list[TensorProto] = []
        self._forms: dict[tuple[int, Form], str] = {}
        """The names of tensors that are made, in each form that they are."""
        self._reals: dict[tuple[int, Form], str] = {}
        """The same of what quantized ones stand for."""
        self._called: dict[str, int] = {}
        self._named: set[str] = set()
        self._inputs = [self._input(number) for number in network.inputs]
        self.variables = Variables(network)
        self._kept: dict[str, Tensor] = {}
        """The tensors that states are, by the names of their inputs."""

    def model(self, table: Mapping[str, Translate]) -> ModelProto:
        """Return the model.

        Args:
            table: what writes an operator, by its name.

        Raises:
            ModelError: an operator does not fit what it takes.
        """
        for number, operator in enumerate(self.network.operators):
            names = [self.network.tensors[each].name for each in operator.outputs]
            name = next(filter(None, names), f"{operator.kind} {number}")
            with checked(f"{operator.kind} {name!r}"):
                table[operator.kind](Site(self, operator, name))
        outputs = [self._output(number) for number in self.network.outputs]
        outputs += [self._left(each) for each in self.variables.states()]
        graph = helper.make_graph(self.nodes, "graph", self._inputs, outputs, self._arrays)
        wide = any(is_quantized(each) and each.dtype == "int16" for each in self.network.tensors)
        opsets = [helper.make_opsetid("", OF_16_BITS if wide else OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def stated(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the file says values have, of those that are the same always."""
        found = {}
        for (number, form), name in self._forms.items():
            tensor = self.network.tensors[number]
            if tensor.shape and -1 not in tensor.sizes:
                order = TO_NCHW if form == "image" else range(len(tensor.shape))
                found[name] = tuple(tensor.shape[axis] for axis in order)
        return found

    def add(self, name: str, operator: str, *inputs: str, makes: int = 1, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or those of several.

        The first of those that an operator is written as is called as it is.
        """
        made = [self._new(name) for _ in range(makes)]
        self._append(operator, inputs, made, name, **attributes)
        return made[0] if makes == 1 else made

    def array(self, array: Any, dtype: Any = None) -> str:
        """Return the name of an array that is given."""
        name = self._new("constant")
        self._arrays.append(numpy_helper.from_array(np.asarray(array, dtype, order="C"), name))
        return name

    def has(self, number: int, form: Form) -> bool:
        """Whether a tensor is there in a form."""
        return (number, form) in self._forms

    def put(self, number: int, form: Form, value: str) -> None:
        """Say where a tensor is that an operator made."""
        tensor = self.network.tensors[number]
        if number in self.constants or self.has(number, "plain") or self.has(number, "image"):
            raise ModelError(f"a tensor is made once; got {tensor.name!r} again")
        self._forms[number, form] = value

    def raw(self, number: int, form: Form, at: str) -> str:
        """Return the name of a tensor in a form, made of the other one where it is not there yet.

        Args:
            number: of the tensor.
            form: which.
            at: what the node that makes it is called.
        """
        found = self._forms.get((number, form))
        if found is None:
            found = self._forms[number, form] = self._in_form(number, form, at)
        return found

    def _in_form(self, number: int, form: Form, at: str) -> str:
        order = TO_NCHW if form == "image" else TO_NHWC
        constant = self.constants.get(number)
        if constant is not None:
            return self.array(constant.transpose(order) if form == "image" else constant)
        other = self._forms.get((number, "plain" if form == "image" else "image"))
        if other is None:
            name = self.network.tensors[number].name
            raise ModelError(f"tensors are made before they are taken; got {name!r} too early")
        return str(self.add(at, "Transpose", other, perm=order))

    def real(self, number: int, form: Form, at: str) -> str:
        """Return the same of the numbers that a tensor stands for, where it is quantized."""
        tensor = self.network.tensors[number]
        raw = self.raw(number, form, at)
        if not is_quantized(tensor):
            return raw
        found = self._reals.get((number, form))
        if found is None:
            found = str(self.add(at, "DequantizeLinear", raw, *self.scale(tensor)))
            self._reals[number, form] = found
        return found

    def scale(self, tensor: Tensor) -> tuple[str, str]:
        """Return the names of a tensor's scale and zero point, one of each."""
        scales, zero_points = quantization(tensor)
        if len(scales) != 1:
            raise ModelError(
                f"what is computed has one scale; got {len(scales)} for {tensor.name!r}"
            )
        return self.array(scales[0]), self.array(zero_points[0])

    def _input(self, number: int) -> ValueInfoProto:
        tensor = self.network.tensors[number]
        if self.has(number, "plain"):
            raise ModelError(f"a tensor is one input; got {tensor.name!r} twice")
        name = self._unique(tensor.name or f"input{number}")
        self.constants.pop(number, None)
        self._forms[number, "plain"] = name
        sizes = [None if size < 0 else size for size in tensor.sizes]
        return helper.make_tensor_value_info(name, _kind(tensor.dtype), sizes)

    def _output(self, number: int) -> ValueInfoProto:
        tensor = self.network.tensors[number]
        name = self._unique(tensor.name or f"output{number}")
        self._append("Identity", [self.raw(number, "plain", name)], [name], name)
        return helper.make_tensor_value_info(name, _kind(tensor.dtype), None)

    def state(self, variable: Variable, tensor: Tensor) -> str:
        """Return the name of an input that is a variable before a call.

        Args:
            variable: a state.
            tensor: of what it is.
        """
        name = variable.taken = self._unique(variable.name)
        sizes = tensor.sizes if variable.initial is None else variable.initial.shape
        open_sizes = [None if size < 0 else size for size in sizes]
        self._inputs.append(helper.make_tensor_value_info(name, _kind(tensor.dtype), open_sizes))
        self._kept[name] = tensor
        return name

    def kept(self, variable: Variable) -> Tensor | None:
        """Return the tensor that a state is; None of what is none."""
        return None if variable.taken is None else self._kept[variable.taken]

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all inputs in the file's example."""
        tensors = [self.network.tensors[number] for number in self.network.inputs]
        tensors += self._kept.values()
        names = [port.name for port in self._inputs]
        return {name: tensor.shape for name, tensor in zip(names, tensors, strict=True)}

    def _left(self, variable: Variable) -> ValueInfoProto:
        """Return the output that a state is behind a call."""
        tensor = self.kept(variable)
        assert tensor is not None
        name = self._unique(f"{variable.name}_out")
        self._append("Identity", [str(variable.now)], [name], name)
        return helper.make_tensor_value_info(name, _kind(tensor.dtype), None)

    def _append(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **others: Any
    ) -> None:
        called = name if name not in self._named else f"{name}/{operator}"
        while called in self._named:
            called += "'"
        self._named.add(called)
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=called, **others))

    def _new(self, name: str) -> str:
        return self._unique(f"{name}@")

    def _unique(self, name: str) -> str:
        """Return a name that no other value has."""
        count = self._called[name] = self._called.get(name, -1) + 1
        return self._unique(f"{name}{count}") if count or name.endswith("@") else name


class Site:
    """An operator as it is written."""

    def __init__(self, translation: Translation, operator: Operator, name: str) -> None:
        self._translation, self.operator, self._name = translation, operator, name

    @property
    def kind(self) -> str:
        """The schema's name of the operator."""
        return self.operator.kind

    @property
    def count(self) -> int:
        """How many inputs it has."""
        return len(self.operator.inputs)

    def option(self, name: str, default: Any = None) -> Any:
        """Return an option; see `Operator.option`."""
        return self.operator.option(name, default)

    def has(self, position: int) -> bool:
        """Whether there is such an input."""
        return position < self.count and self.operator.inputs[position] is not None

    def tensor(self, position: int = 0) -> Tensor:
        """Return an input."""
        return self._translation.network.tensors[self._number(position)]

    def output(self, position: int = 0) -> Tensor:
        """Return an output."""
        return self._translation.network.tensors[self.operator.outputs[position]]

    def rank(self, position: int = 0) -> int:
        """Return how many axes an input has."""
        return len(self.tensor(position).shape)

    def constant(self, position: int) -> Array | None:
        """Return an input as an array, whole numbers as they are; None where it is computed."""
        return self._translation.constants.get(self._number(position))

    def variable(self) -> Variable:
        """Return the variable that is the first input."""
        return self._translation.variables.of(self.operator)

    def state(self, variable: Variable) -> str:
        """Return the name of an input that is what a state is before a call, as the output is."""
        return self._translation.state(variable, self.output())

    def kept(self, variable: Variable) -> Tensor | None:
        """Return the tensor that a state is; None of what is none."""
        return self._translation.kept(variable)

    def numbers(self, position: int) -> list[int]:
        """Return the whole numbers of an input.

        Raises:
            ModelError: they are computed.
        """
        array = self.constant(position)
        if array is None or array.dtype.kind not in "iu":
            raise ModelError(f"input {position} of {self.kind} is whole numbers that are constant")
        return [int(each) for each in array.reshape(-1)]

    def know(self, array: Array) -> None:
        """Say what an operator makes of constants."""
        if array.shape != self.output().shape:
            raise ModelError(f"an array has the shape that the file says; got {array.shape}")
        self._translation.constants[self.operator.outputs[0]] = array

    def add(self, operator: str, *inputs: str, **attributes: Any) -> Any:
        """Add a node; return the name of its output, or those of several."""
        return self._translation.add(self._name, operator, *inputs, **attributes)

    def array(self, array: Any, dtype: Any = None) -> str:
        """Return the name of an array that is given."""
        return self._translation.array(array, dtype)

    def form(self, *positions: int) -> Form:
        """Return the form to compute in: of images, where an input is there as one alone."""
        held = [self._number(position) for position in positions]
        if any(
            self.rank(position) != 4 and self.constant(position) is None for position in positions
        ):
            return "plain"
        return "image" if any(self._translation.has(each, "image") for each in held) else "plain"

    def raw(self, position: int = 0, form: Form = "plain") -> str:
        """Return the name of an input, whole numbers as they are."""
        return self._translation.raw(self._number(position), form, self._name)

    def x(self, position: int = 0, form: Form = "plain") -> str:
        """Return the name of an input, quantized ones as the numbers that they stand for."""
        if form == "image" and self.rank(position) != 4:
            raise ModelError(f"an image has four axes; got {self.tensor(position).shape}")
        return self._translation.real(self._number(position), form, self._name)

    def operand(self, position: int, form: Form) -> str:
        """Return the same of one that broadcasts: a constant may have fewer axes than an image."""
        array, tensor = self.constant(position), self.tensor(position)
        if form == "plain" or array is None or array.ndim > 4:
            return self.x(position, form)
        if array.ndim:
            array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_NCHW)
        name = self.array(array)
        if not is_quantized(tensor):
            return name
        return str(self.add("DequantizeLinear", name, *self._translation.scale(tensor)))

    def weight(self, position: int, order: Sequence[int]) -> str:
        """Return the name of weights with their axes in another order."""
        array, tensor = self.constant(position), self.tensor(position)
        if len(order) != len(tensor.shape):
            raise ModelError(f"weights have {len(order)} axes; got {tensor.shape}")
        if array is None:
            return str(self.add("Transpose", self.x(position), perm=order))
        name = self.array(array.transpose(order))
        if not is_quantized(tensor):
            return name
        scales, zero_points = quantization(tensor)
        if len(scales) == 1:
            return str(
                self.add(
                    "DequantizeLinear", name, self.array(scales[0]), self.array(zero_points[0])
                )
            )
        assert tensor.quantization is not None
        axis = list(order).index(tensor.quantization.axis)
        return str(
            self.add(
                "DequantizeLinear", name, self.array(scales), self.array(zero_points), axis=axis
            )
        )

    def bias(self, position: int, image: int = 0) -> tuple[str, ...]:
        """Return the name of a bias, if there is one; beside quantized weights it has their scales.

        (Times that of the image; what the file says of its own scale is not used by TFLite.)

        Args:
            position: of the bias.
            image: the position of that.
        """
        if not self.has(position):
            return ()
        array = self.constant(position)
        if array is None or array.dtype.kind == "f":
            return (self.x(position),)
        x, weight = self.tensor(image), self.tensor(1)
        if not (is_quantized(x) and is_quantized(weight)):
            raise ModelError(f"a bias of {array.dtype} is one of quantized images and weights")
        scales = (quantization(x)[0] * quantization(weight)[0]).astype(np.float32)
        if array.dtype != np.int32:
            return (self.array((array * scales.astype(np.float64)).astype(np.float32)),)
        each = self.array(scales if len(scales) > 1 else scales[0])
        zeros = self.array(np.zeros(scales.shape if len(scales) > 1 else (), np.int32))
        return (self.add("DequantizeLinear", self.array(array), each, zeros, axis=0),)

    def give(self, value: str, form: Form = "plain", position: int = 0) -> None:
        """Say what an output is: activated and quantized, where the operator or the file say so."""
        tensor = self.output(position)
        activation = self.option("FusedActivationFunction", 0)
        if activation:
            value = self.activated(value, activation)
        if is_quantized(tensor):
            value = self.add("QuantizeLinear", value, *self._translation.scale(tensor))
        self.put(value, form, position)

    def put(self, value: str, form: Form = "plain", position: int = 0) -> None:
        """Say what an output is, whole numbers as they are."""
        self._translation.put(self.operator.outputs[position], form, value)

    def activated(self, value: str, number: int) -> str:
        """Return a value behind an activation, by its number in the schema."""
        if number not in _ACTIVATIONS:
            raise ModelError(f"an activation is one of {sorted(_ACTIVATIONS)}; got {number}")
        operator, *bounds = _ACTIVATIONS[number]
        return str(self.add(operator, value, *(self.array(bound, np.float32) for bound in bounds)))

    def check_makes(self, *shape: int) -> None:
        """Refuse a file that says another shape of the output than follows from the inputs.

        Raises:
            ModelError: it is another.
        """
        if shape != self.output().shape:
            raise ModelError(
                f"{self.kind} makes {shape} of {self.tensor().shape}; got {self.output().shape}"
            )

    def _number(self, position: int) -> int:
        number = self.operator.inputs[position] if position < self.count else None
        if number is None:
            raise ModelError(f"{self.kind} has an input {position}; got {self.count} inputs")
        return number


_ACTIVATIONS: dict[int, tuple[Any, ...]] = {
    1: ("Relu",), 2: ("Clip", -1, 1), 3: ("Clip", 0, 6),
}  # fmt: skip
"""The operator of ONNX, with its bounds, for each of the schema's that TFLite computes."""


def is_quantized(tensor: Tensor) -> bool:
    """Whether the whole numbers of a tensor stand for others."""
    return tensor.quantization is not None and tensor.dtype in ("int8", "uint8", "int16")


def quantization(tensor: Tensor) -> tuple[Array, Array]:
    """Return the scales of a quantized tensor, and its zero points of the same type."""
    found = tensor.quantization
    assert found is not None
    bounds = np.iinfo(tensor.dtype)
    if found.zero_points.min() < bounds.min or found.zero_points.max() > bounds.max:
        raise ModelError(f"a zero point is a number of {tensor.dtype}; got {found.zero_points}")
    return found.scales, found.zero_points.astype(tensor.dtype)


def _kind(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
