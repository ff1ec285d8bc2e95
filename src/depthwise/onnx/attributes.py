"""What a node of ONNX is given: attributes, or inputs that older versions had as attributes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from onnx import NodeProto, helper

from depthwise.network.graph import Value
from depthwise.problem.arrays import Array


@dataclass(frozen=True, eq=False)
class Given:
    """A node with its values.

    Attributes:
        proto: the node.
        inputs: the values that it takes; None for one that is left out.
        outputs: those that it makes.
        opset: the version of ONNX's operators.
    """

    proto: NodeProto
    inputs: list[Value | None]
    outputs: list[Value]
    opset: int

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The attributes as Python's values."""
        return {each.name: helper.get_attribute_value(each) for each in self.proto.attribute}

    def word(self, name: str, default: str) -> str:
        """Return an attribute that is a word."""
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else str(found)

    @property
    def x(self) -> Value:
        """The first input."""
        value = self.inputs[0]
        assert value is not None
        return value

    def constant(self, position: int) -> Array | None:
        """Return an input as an array; None where it is left out or computed."""
        value = self.inputs[position] if position < len(self.inputs) else None
        return None if value is None else value.constant

    def is_left_out(self, position: int) -> bool:
        """Whether there is no such input."""
        return position >= len(self.inputs) or self.inputs[position] is None

    def numbers(self, name: str, position: int) -> list[int] | None:
        """Return whole numbers that are an attribute, or a constant input in later versions.

        None where they are neither, or are computed.
        """
        if name in self.attributes:
            return list(self.attributes[name])
        array = self.constant(position)
        return None if array is None else [int(each) for each in array.reshape(-1)]

    def number(self, name: str, position: int, default: float) -> float | None:
        """Return the same for one number, with what it is where it is left out."""
        if name in self.attributes:
            return float(self.attributes[name])
        if self.is_left_out(position):
            return default
        array = self.constant(position)
        return None if array is None or array.size != 1 else float(array.reshape(()))
