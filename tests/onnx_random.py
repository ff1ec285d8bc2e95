"""Hypothesis strategies for graphs of ONNX: what networks are made of, wired by chance."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto

from onnx_models import model, node, port

SIZES = ((1, 8, 6, 6), (2, 8, 7, 9))
"""The shapes of the input that a graph is valid for."""
_rng = np.random.default_rng(1)


@dataclass
class Drawn:
    """A model, and the arrays that it is called with."""

    model: ModelProto
    arrays: list[np.ndarray]

    def __repr__(self) -> str:
        lines = [f"{n.op_type}({', '.join(n.input)}) -> {', '.join(n.output)} "
                 f"{[(a.name, list(a.ints) or a.i or a.f) for a in n.attribute]}"
                 for n in self.model.graph.node]  # fmt: skip
        returned = [each.name for each in self.model.graph.output]
        return "\n".join([f"shapes {[a.shape for a in self.arrays]}", *lines, f"-> {returned}"])


@dataclass
class _Builder:
    """A graph so far; a value is its name and its shapes for both `SIZES`."""

    draw: st.DrawFn
    dtype: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, tuple] = field(default_factory=dict)

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def value(self, channels: int | None = None) -> str:
        """Draw a value, mostly one of the latest."""
        names = [n for n, s in self.shapes.items() if channels in (None, s[0][1])]
        return self.draw(st.sampled_from(names[-3:]) | st.sampled_from(names))

    def constant(self, *shape: int, positive: bool = False) -> str:
        name = f"k{len(self.constants)}"
        array = _rng.standard_normal(shape) / max(1, np.prod(shape[1:])) ** 0.5
        self.constants[name] = (np.abs(array) + 0.5 if positive else array).astype(self.dtype)
        return name

    def numbers(self, *values, dtype: str | None = None) -> str:
        name = f"k{len(self.constants)}"
        shape = () if len(values) == 1 and dtype is None else (len(values),)
        self.constants[name] = np.array(values, dtype or self.dtype).reshape(shape)
        return name

    def add(self, operator: str, inputs: str, shapes=None, **attributes) -> str:
        """Add a node of one output; without shapes it is like its first input."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(operator, inputs, name, **attributes))
        self.shapes[name] = shapes or self.shapes[inputs.split(maxsplit=1)[0]]
        return name

    def convolution(self) -> None:
        x = self.value()
        channels = self.shapes[x][0][1]
        kind = self.one_of("depthwise", "depthwise", "point", "point", "dense")
        outputs = channels if kind == "depthwise" else self.one_of(8, channels)
        taps = 1 if kind == "point" else 3
        stride = self.one_of(1, 1, 2) if kind != "point" else 1
        dilation = self.one_of(1, 1, 2) if kind == "depthwise" else 1
        pads = self.one_of([1, 1, 1, 1], [0, 1, 2, 1]) if taps == 3 else [0, 0, 0, 0]

        def made(shape):
            sizes = [(shape[2 + axis] + pads[axis] + pads[2 + axis] - dilation * (taps - 1) - 1)
                     // stride + 1 for axis in (0, 1)]  # fmt: skip
            return (shape[0], outputs, *sizes)

        shapes = tuple(map(made, self.shapes[x]))
        if min(min(shape) for shape in shapes) < 1:
            return
        group = channels if kind == "depthwise" else 1
        taken = f"{x} {self.constant(outputs, channels // group, taps, taps)}"
        if self.draw(st.booleans()):
            taken += f" {self.constant(outputs)}"
        self.add("Conv", taken, shapes, pads=pads, strides=[stride] * 2,
                 dilations=[dilation] * 2, group=group)  # fmt: skip

    def norm(self) -> None:
        x = self.value()
        channels = self.shapes[x][0][1]
        arrays = [self.constant(channels) for _ in range(3)]
        self.add("BatchNormalization", f"{x} {' '.join(arrays)} "
                 f"{self.constant(channels, positive=True)}")  # fmt: skip

    def activation(self) -> None:
        x = self.value()
        plain = ("Relu", "Sigmoid", "HardSwish", "HardSigmoid", "LeakyRelu", "Tanh")
        written = ("relu6", "relu6 of two", "hardswish", "silu", "clamp", "hard")
        gelu = ("gelu",) * (self.dtype == "float32")  # ONNX Runtime has no Erf in double
        how = self.one_of(*plain, *written, *gelu)
        if how in plain:
            self.add(how, x)
        elif how == "relu6":
            self.add("Clip", f"{x} {self.numbers(0)} {self.numbers(6)}")
        elif how == "relu6 of two":
            self.add("Min", f"{self.add('Relu', x)} {self.numbers(6)}")
        elif how == "clamp":
            self.add("Max", f"{x} {self.numbers(self.one_of(0, -0.5))}")
        elif how == "hard":
            line = self.add(
                "Add", f"{self.add('Mul', f'{x} {self.numbers(0.2)}')} {self.numbers(0.5)}"
            )
            self.add("Clip", f"{line} {self.numbers(0)} {self.numbers(1)}")
        elif how == "silu":
            self.add("Mul", f"{self.add('Sigmoid', x)} {x}")
        elif how == "hardswish":
            more = self.add("Add", f"{x} {self.numbers(3)}")
            cut = self.add("Clip", f"{more} {self.numbers(0)} {self.numbers(6)}")
            self.add("Div", f"{self.add('Mul', f'{x} {cut}')} {self.numbers(6)}")
        else:
            erf = self.add("Erf", self.add("Div", f"{x} {self.numbers(2**0.5)}"))
            one = self.add("Add", f"{erf} {self.numbers(1)}")
            self.add("Mul", f"{self.add('Mul', f'{x} {one}')} {self.numbers(0.5)}")

    def sum(self) -> None:
        x = self.value()
        others = [name for name in self.shapes if self.shapes[name] == self.shapes[x]]
        operator = self.one_of("Add", "Add", "Mul", "Sub")
        self.add(operator, f"{x} {self.draw(st.sampled_from(others))}")

    def scale(self) -> None:
        x = self.value()
        channels = self.shapes[x][0][1]
        shape = self.one_of((channels, 1, 1), (1, channels, 1, 1), (1,), ())
        operator = self.one_of("Add", "Mul", "Sub", "Div")
        k = self.constant(*shape, positive=operator == "Div")
        left = operator in ("Add", "Mul", "Sub") and self.draw(st.booleans())
        self.add(operator, f"{k} {x}" if left else f"{x} {k}", self.shapes[x])

    def concatenation(self) -> None:
        x = self.value()
        kept = [(s[0], *s[2:]) for s in self.shapes[x]]
        others = [n for n, shapes in self.shapes.items()
                  if [(s[0], *s[2:]) for s in shapes] == kept and shapes[0][1] <= 8]  # fmt: skip
        if not others or self.shapes[x][0][1] > 8:
            return
        other = self.draw(st.sampled_from(others))
        more = self.shapes[other][0][1]
        shapes = tuple((s[0], s[1] + more, *s[2:]) for s in self.shapes[x])
        self.add("Concat", f"{x} {other}", shapes, axis=1)

    def split(self) -> None:
        x = self.value()
        if self.shapes[x][0][1] % 8:
            return
        half = tuple((s[0], s[1] // 2, *s[2:]) for s in self.shapes[x])
        count = len(self.nodes)
        parts = self.numbers(half[0][1], half[0][1], dtype="int64")
        self.nodes.append(node("Split", f"{x} {parts}", f"v{count} w{count}", axis=1))
        self.shapes |= {f"v{count}": half, f"w{count}": half}

    def mean(self) -> str:
        x = self.value()
        shapes = tuple((*s[:2], 1, 1) for s in self.shapes[x])
        if self.draw(st.booleans()):
            return self.add("GlobalAveragePool", x, shapes)
        return self.add("ReduceMean", x, shapes, axes=self.one_of([2, 3], [-1, -2]))

    def excite(self) -> None:
        x = self.value(8)
        shapes = tuple((*s[:2], 1, 1) for s in self.shapes[x])
        mean = self.add("GlobalAveragePool", x, shapes)
        few = tuple((s[0], 4, 1, 1) for s in shapes)
        less = self.add("Relu", self.add("Conv", f"{mean} {self.constant(4, 8, 1, 1)}", few))
        more = self.add("Conv", f"{less} {self.constant(8, 4, 1, 1)} {self.constant(8)}", shapes)
        gate = self.add(self.one_of("Sigmoid", "HardSigmoid"), more)
        factors = self.one_of(f"{x} {gate}", f"{gate} {x}")
        self.add("Mul", factors, self.shapes[x])

    def pixels(self) -> None:
        """What is computed on (N, H, W, C) between two transpositions."""
        x = self.value()
        channels = self.shapes[x][0][1]
        last = tuple((s[0], *s[2:], s[1]) for s in self.shapes[x])
        inside = self.add("Transpose", x, last, perm=[0, 2, 3, 1])
        if self.draw(st.booleans()):
            arrays = f"{self.constant(channels)} {self.constant(channels)}"
            inside = self.add("LayerNormalization", f"{inside} {arrays}", epsilon=1e-3)
        if self.draw(st.booleans()):
            inside = self.add("MatMul", f"{inside} {self.constant(channels, channels)}")
            inside = self.add("Add", f"{inside} {self.constant(channels)}")
        shapes = self.shapes[x]
        for name in [each for each in self.shapes if self.shapes[each] == last]:
            del self.shapes[name]  # whose second axis is none of channels
        self.add("Transpose", inside, shapes, perm=[0, 3, 1, 2])

    def reshape(self) -> None:
        x = self.value()
        shapes = tuple((*s[:2], s[2] * s[3], 1) for s in self.shapes[x])
        self.add("Reshape", f"{x} {self.numbers(0, 0, -1, 1, dtype='int64')}", shapes)

    def pad(self) -> None:
        x = self.value()
        shapes = tuple((*s[:2], s[2] + 1, s[3] + 2) for s in self.shapes[x])
        if shapes[0][2] < 12:
            pads = self.numbers(0, 0, 1, 0, 0, 0, 0, 2, dtype="int64")
            self.add("Pad", f"{x} {pads}", shapes)

    def nothing(self) -> None:
        self.add(self.one_of("Identity", "Dropout"), self.value())


_MOVES = ("convolution", "convolution", "convolution", "norm", "activation", "activation", "sum",
          "scale", "concatenation", "split", "mean", "excite", "pixels", "reshape", "pad",
          "nothing")  # fmt: skip


@st.composite
def graphs(draw: st.DrawFn, dtype: str = "float32") -> Drawn:
    """Draw a model of up to a dozen parts, of open or fixed sizes, and its input."""
    builder = _Builder(draw, dtype, shapes={"x": SIZES})
    for move in draw(st.lists(st.sampled_from(_MOVES), min_size=2, max_size=9)):
        getattr(builder, move)()
    names = list(builder.shapes)
    outputs = draw(st.lists(st.sampled_from(names[-3:] + names), min_size=1, max_size=3))
    which = draw(st.sampled_from((0, 1)))
    opened = draw(st.sampled_from(("fixed", "batch", "all")))
    sizes = {"fixed": SIZES[which], "batch": ("n", *SIZES[which][1:]), "all": ("n", 8, "h", "?")}
    returned = [port(name, None, dtype) for name in outputs]
    made = model(builder.nodes, [port("x", sizes[opened], dtype)], returned, builder.constants)
    shapes = [SIZES[which], *{"batch": [(3, *SIZES[which][1:])], "all": SIZES}.get(opened, [])]
    return Drawn(made, [_rng.standard_normal(shape).astype(dtype) for shape in shapes])
