"""What every problem has, whatever its kind: the protocols that specifications keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from depthwise.errors import SpecError
from depthwise.problem.dtypes import ElementType, element
from depthwise.problem.pitches import Pitches
from depthwise.problem.vocabulary import Layout

if TYPE_CHECKING:
    from depthwise.problem.spec import ConvSpec

S = TypeVar("S")
D = TypeVar("D", bound=Any)


class Problem(Protocol):
    """What is to be computed: a value that can be compared, hashed, and printed as one line.

    A call takes an input and the operands, and gives one output.
    """

    def __hash__(self) -> int:
        """Return the same number for problems that are equal."""

    @property
    def kind(self) -> str:
        """The first word of its line."""

    @property
    def batch(self) -> int:
        """Images at once."""

    @property
    def layout(self) -> Layout:
        """The order of the axes of images, whether input, residual or output."""

    @property
    def dtype(self) -> str:
        """The name of the element type of images; `dtype_of` has that of each array."""

    @property
    def element(self) -> ElementType:
        """What `dtype` names."""

    def dtype_of(self, name: str) -> str:
        """Return the name of the element type of an array: x, y or an operand."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the input, the first array of a call."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output."""

    @property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The arrays beside the input by name, in the order of a call, with their shapes."""

    @property
    def computed(self) -> tuple[str, ...]:
        """The operands that a network computes anew in each call; the others are its weights."""

    @property
    def array_names(self) -> tuple[str, ...]:
        """What the arrays of a call are: the name of the input, then those of the operands."""

    @property
    def pitches(self) -> Pitches:
        """The arrays that are runs of the channels of wider images."""

    @property
    def kernels(self) -> tuple[Problem, ...]:
        """The problems that one kernel each computes: itself where one kernel is enough."""

    @property
    def parts(self) -> tuple[ConvSpec, ...]:
        """The convolutions that it computes one after another; () where it is something else."""


class Specification:
    """What a specification of a problem has unless it says otherwise; see `Problem`."""

    @property
    def element(self: Problem) -> ElementType:
        """What `dtype` names."""
        return element(self.dtype)

    def dtype_of(self: Problem, name: str) -> str:
        """Return the name of the element type of an array; see `Problem.dtype_of`."""
        del name
        return self.dtype

    @property
    def computed(self: Problem) -> tuple[str, ...]:
        """A residual, where there is one."""
        return tuple(name for name in self.operands if name == "residual")

    @property
    def array_names(self: Problem) -> tuple[str, ...]:
        """The names of the arrays of a call: x, then those of the operands."""
        return ("x", *self.operands)

    @property
    def pitches(self) -> Pitches:
        """None: all arrays are whole."""
        return ()

    @property
    def may_be_runs(self) -> tuple[str, ...]:
        """The names of the arrays that may be runs of the channels of wider images."""
        return ()

    def pitched(self: S, pitches: Mapping[str, int]) -> S:
        """Return the same problem with other pitches; see `Layer.pitched`."""
        if pitches:
            raise SpecError(f"arrays of this kind of problem are whole: {self}")
        return self

    @property
    def kernels(self: Problem) -> tuple[Problem, ...]:
        """The problem itself, which one kernel computes."""
        return (self,)

    @property
    def parts(self) -> tuple[ConvSpec, ...]:
        """None: it is not a chain of convolutions."""
        return ()

    def sides(self: Problem, height: Any, width: Any) -> tuple[Any, Any]:
        """Return what the parts make of them; see `Layer.sides`."""
        for part in self.parts:
            height, width = part.sides(height, width)
        return height, width


class OfConvolution(Specification):
    """What the gradients of a convolution have of it."""

    conv: Any

    @property
    def batch(self) -> int:
        """Images, or sequences, at once."""
        return self.conv.batch  # type: ignore[no-any-return]

    @property
    def layout(self) -> Layout:
        """The order of the axes of x, y and their gradients."""
        return self.conv.layout  # type: ignore[no-any-return]

    @property
    def dtype(self) -> str:
        """The name of the element type of every array."""
        return self.conv.dtype  # type: ignore[no-any-return]


class OfRuns(Specification, ABC):
    """What a specification has of which some arrays may be runs of the channels of wider images."""

    @abstractmethod
    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes (N, H, W, C) of the arrays that may be runs, by name."""

    @property
    def may_be_runs(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.image_shapes())

    def pitch(self, name: str) -> int:
        """Return how many elements lie from pixel to pixel of one of them."""
        return dict(self.pitches).get(name) or self.image_shapes()[name][-1]

    def pitched(self: D, pitches: Mapping[str, int]) -> D:
        """Return the same problem with other pitches; see `Layer.pitched`."""
        return replace(self, pitches=tuple(pitches.items()))


class Layer(Problem, Protocol):
    """A problem that may be part of a network: it exists for images of more than one size."""

    @property
    def may_be_runs(self) -> tuple[str, ...]:
        """The names of the arrays that may be runs of the channels of wider images."""

    def pitched(self, pitches: Mapping[str, int]) -> Layer:
        """Return the same problem for arrays that lie in wider images.

        Args:
            pitches: for `x`, `y` or an operand how many elements lie from pixel to pixel; those
                that are not named are whole.

        Raises:
            SpecError: such an array is whole, or has more channels.
        """

    def sides(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Return the height and the width of the result for images of this size.

        Both are whole numbers, or what adds and divides as they do.
        """

    def resized(self, batch: int, height: int, width: int) -> Layer:
        """Return the same problem for so many images of this size.

        Raises:
            SpecError: it cannot exist at this size.
        """
