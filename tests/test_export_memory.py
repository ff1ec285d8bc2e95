"""Plans of memory: right for any network, and as small as they should be for known ones."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthwise.errors import InternalError, MemoryBudgetError
from depthwise.exporting.memory.nodes import Kind, Node, Reads, Tensor
from depthwise.exporting.memory.plan import Chain, Event
from depthwise.exporting.memory.planner import (
    layer_by_layer,
    least_layer_by_layer,
    smallest,
    within,
)
from memory_plans import verify


def divisors(number: int) -> tuple[int, ...]:
    return tuple(d for d in range(1, number + 1) if number % d == 0)


class Net:
    """A network of images as tensors and nodes."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.nodes: list[Node] = []
        self.shapes: list[tuple[int, int, int]] = []

    def tensor(self, h: int, w: int, c: int, role: str = "arena") -> int:
        self.tensors.append(Tensor(h, w * c, role))
        self.shapes.append((h, w, c))
        return len(self.tensors) - 1

    def node(self, kind: Kind, y: int, *reads: Reads, scratch: int = 0, cost: float = 1.0) -> int:
        choices = divisors(self.tensors[y].rows) if kind == "rows" else (1,)
        self.nodes.append(Node(reads, y, kind, scratch, choices, cost))
        return y

    def conv(self, x: int, channels: int, kernel=(1, 1), stride=(1, 1), depthwise=False) -> int:
        """Add a convolution whose padding is that of TensorFlow's "same"."""
        h, w, c = self.shapes[x]
        rows, columns = -(-h // stride[0]), -(-w // stride[1])
        padding = max(0, (rows - 1) * stride[0] + kernel[0] - h)
        above, below = padding // 2, padding - padding // 2
        cost = rows * columns * channels * kernel[0] * kernel[1] * (1 if depthwise else c)
        reads = Reads(x, kernel[0], stride[0], above, below, 0 if padding else None)
        return self.node("rows", self.tensor(rows, columns, channels), reads, cost=cost)

    def depthwise(self, x: int, stride: int = 1) -> int:
        return self.conv(x, self.shapes[x][2], (3, 3), (stride, stride), depthwise=True)

    def add(self, a: int, b: int) -> int:
        h, w, c = self.shapes[a]
        reads = (Reads(tensor, may_overwrite=True) for tensor in (a, b))
        return self.node("rows", self.tensor(h, w, c), *reads, cost=h * w * c)

    def classes(self, x: int, count: int) -> int:
        h, w, c = self.shapes[x]
        means = self.tensor(1, 1, c)
        self.node("sum", means, Reads(x), scratch=4 * c, cost=h * w * c)
        y = self.tensor(1, 1, count, "output")
        return self.node("rows", y, Reads(means), cost=c * count)


def mobilenet_v1() -> Net:
    net = Net()
    x = net.conv(net.tensor(96, 96, 3, "input"), 8, (3, 3), (2, 2))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    channels = [16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256]
    for stride, count in zip(strides, channels, strict=True):
        x = net.conv(net.depthwise(x, stride), count)
    net.classes(x, 2)
    return net


def mobilenet_v2() -> Net:
    net = Net()
    x = net.conv(net.tensor(96, 96, 3, "input"), 16, (3, 3), (2, 2))
    x = net.conv(net.depthwise(x), 8)
    groups = [(8, 2, 2), (16, 3, 2), (24, 4, 2), (32, 3, 1), (56, 3, 2), (112, 1, 1)]
    for channels, count, first_stride in groups:
        for number in range(count):
            skip = x
            x = net.conv(x, 6 * net.shapes[x][2])
            x = net.conv(net.depthwise(x, 1 if number else first_stride), channels)
            x = net.add(x, skip) if number else x
    net.classes(net.conv(x, 1280), 1000)
    return net


def ds_cnn() -> Net:
    net = Net()
    x = net.conv(net.tensor(49, 10, 1, "input"), 64, (10, 4), (2, 2))
    for _ in range(4):
        x = net.conv(net.depthwise(x), 64)
    net.classes(x, 12)
    return net


@pytest.mark.parametrize(
    ("build", "part"), [(mobilenet_v1, 0.6), (mobilenet_v2, 0.45), (ds_cnn, 0.6)]
)
def test_known_networks_take_much_less_than_layer_by_layer(build, part):
    net = build()
    least = least_layer_by_layer(net.tensors, net.nodes)
    layers = layer_by_layer(net.tensors, net.nodes)
    verify(net.tensors, net.nodes, layers)
    assert least <= layers.peak <= 1.01 * least
    plan = smallest(net.tensors, net.nodes)
    verify(net.tensors, net.nodes, plan)
    assert plan.peak <= part * least


class Drawn(Net):
    """A network that hypothesis draws, of whatever a network might have."""

    def __init__(self, draw) -> None:
        super().__init__()
        self.draw = draw
        for _ in range(self.number(1, 2)):
            self.tensor(self.number(1, 16), 1, self.number(1, 9), "input")
        for _ in range(self.number(1, 12)):
            self.step()
        self.choose_outputs()

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def any_tensor(self) -> int:
        """Return a tensor, mostly a late one."""
        count = len(self.tensors)
        return max(self.number(0, count - 1), self.number(0, count - 1), self.number(0, count - 1))

    def step(self) -> None:
        kinds = ["convolution"] * 5 + ["add", "add", "mean", "scale", "whole"]
        getattr(self, "add_" + self.draw(st.sampled_from(kinds)))(self.any_tensor())

    def made(self, rows: int, kind: Kind, *reads: Reads) -> int:
        y = self.tensor(rows, 1, self.number(1, 9))
        scratch = self.draw(st.sampled_from([0, 0, 5]))
        node = Node(reads, y, kind, scratch, (1,), self.number(1, 9))
        if kind == "rows":
            first = self.draw(st.sampled_from([1, 1, 1, 2]))
            node = replace(node, choices=divisors(rows)[first - 1 :] or (rows,))
        self.nodes.append(node)
        return y

    def windows(self, x: int) -> tuple[int, Reads]:
        rows = self.tensors[x].rows
        stride = self.number(1, 3)
        window = (self.number(1, 7) - 1) * self.number(1, 2) + 1
        above, below = self.number(0, window // 2), self.number(0, window // 2)
        below += max(0, window - rows - above - below)
        pad = self.draw(st.sampled_from([0, 0, 0, 7])) if above or below else None
        count = (rows + above + below - window) // stride + 1
        return count, Reads(x, window, stride, above, below, pad)

    def add_convolution(self, x: int) -> None:
        count, reads = self.windows(x)
        self.made(count, "rows", reads)

    def add_add(self, x: int) -> None:
        rows = self.tensors[x].rows
        alike = [t for t, tensor in enumerate(self.tensors) if tensor.rows == rows]
        others = self.draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2))
        may = self.draw(st.booleans())
        self.made(rows, "rows", *(Reads(t, may_overwrite=may) for t in (x, *others)))

    def add_mean(self, x: int) -> None:
        self.made(1, "sum", Reads(x))

    def add_scale(self, x: int) -> None:
        single = [t for t, tensor in enumerate(self.tensors) if tensor.rows == 1]
        factor = Reads(self.draw(st.sampled_from(single)), stride=0) if single else Reads(x)
        self.made(self.tensors[x].rows, "rows", Reads(x, may_overwrite=True), factor)

    def add_whole(self, x: int) -> None:
        self.made(self.number(1, 9), "whole", Reads(x))

    def choose_outputs(self) -> None:
        read = {reads.tensor for node in self.nodes for reads in node.reads}
        for node in self.nodes:
            chance = self.number(0, 9)
            if chance == 0 if node.makes in read else chance < 8:
                self.tensors[node.makes] = replace(self.tensors[node.makes], role="output")


@st.composite
def networks(draw) -> Net:
    return Drawn(draw)


@settings(deadline=None, max_examples=150)
@given(networks(), st.sampled_from([1, 16]))
def test_every_plan_computes_what_it_should(net, align):
    layers = layer_by_layer(net.tensors, net.nodes, align)
    verify(net.tensors, net.nodes, layers)
    least = smallest(net.tensors, net.nodes, align)
    verify(net.tensors, net.nodes, least)
    assert least.peak <= layers.peak
    budget = (least.peak + layers.peak) // 2
    plan = within(net.tensors, net.nodes, budget, align)
    verify(net.tensors, net.nodes, plan)
    assert plan.peak <= budget
    if least.peak > 0:
        with pytest.raises(MemoryBudgetError, match=f"budget: {least.peak // 2}"):
            within(net.tensors, net.nodes, least.peak // 2, align)


def test_a_budget_that_is_too_small_names_what_takes_the_memory():
    net = mobilenet_v1()
    tensors = [replace(t, name=f"image {number}") for number, t in enumerate(net.tensors)]
    least = smallest(tensors, net.nodes).peak
    with pytest.raises(MemoryBudgetError) as caught:
        within(tensors, net.nodes, least // 2)
    assert f"budget: {least // 2} bytes" in str(caught.value)
    assert re.search(r"3 of 48 rows of image 3 \(2304 bytes\)", str(caught.value))


@pytest.mark.parametrize("part", [0.3, 0.5, 0.8, 1.0])
def test_the_plan_within_a_budget_is_faster_the_more_memory_there_is(part):
    net = mobilenet_v2()
    least = least_layer_by_layer(net.tensors, net.nodes)
    plan = within(net.tensors, net.nodes, int(part * least))
    verify(net.tensors, net.nodes, plan)
    assert plan.peak <= part * least
    chained = sum(len(s.nodes) for s in plan.segments if isinstance(s, Chain))
    assert chained <= {0.3: 7, 0.5: 4, 0.8: 2, 1.0: 0}[part]


def test_the_bound_leaves_out_arrays_of_the_caller():
    tensors = [Tensor(8, 10, "input"), Tensor(8, 20), Tensor(8, 40), Tensor(8, 1, "output")]
    nodes = [Node((Reads(n),), n + 1, "rows") for n in range(3)]
    assert least_layer_by_layer(tensors, nodes) == 8 * 60
    assert least_layer_by_layer(tensors, nodes[:1]) == 8 * 20


def test_a_result_lies_in_the_place_of_what_it_may_overwrite():
    tensors = [Tensor(8, 10, "input"), *[Tensor(8, 10)] * 3, Tensor(8, 10, "output")]
    nodes = [Node((Reads(n, may_overwrite=True),), n + 1, "whole") for n in range(4)]
    plan = layer_by_layer(tensors, nodes, align=1)
    verify(tensors, nodes, plan)
    assert plan.peak == 80
    nodes = [replace(node, reads=(Reads(n),)) for n, node in enumerate(nodes)]
    assert layer_by_layer(tensors, nodes, align=1).peak == 160


def test_a_chain_writes_its_result_over_its_input():
    """Two images of 640 bytes take one row more than one of them, and rings of three rows."""
    tensors = [Tensor(64, 10, "input"), *[Tensor(64, 10)] * 4, Tensor(64, 10, "output")]
    reads = [Reads(0), Reads(1, 3, 1, 1, 1, 0), Reads(2, 3, 1, 1, 1, 0), Reads(3), Reads(4)]
    kinds: list[Kind] = ["whole", "rows", "rows", "rows", "whole"]
    nodes = [
        Node((read,), number + 1, kind)
        for number, (read, kind) in enumerate(zip(reads, kinds, strict=True))
    ]
    plan = smallest(tensors, nodes, align=1)
    verify(tensors, nodes, plan)
    assert plan.peak <= 640 + 10 * (3 + 3 + 1 + 1)


def test_rings_hold_what_kernels_read():
    """A 3x3 convolution reads three rows, a skip beside it one that is still there."""
    tensors = [Tensor(16, 4, "input"), Tensor(16, 40), Tensor(16, 40), Tensor(16, 4, "output")]
    nodes = [
        Node((Reads(0),), 1, "rows"),
        Node((Reads(1, 3, 1, 1, 1, 0),), 2, "rows"),
        Node((Reads(2), Reads(1)), 3, "rows"),
    ]
    (chain,) = smallest(tensors, nodes).segments
    assert isinstance(chain, Chain)
    assert {ring.tensor: (ring.capacity, ring.above, ring.below) for ring in chain.rings} == {
        1: (3, 1, 1),
        2: (1, 0, 0),
    }
    assert chain.events[:4] == (
        Event("fire", 0),
        Event("fire", 0),
        Event("fire", 1),
        Event("fire", 2),
    )
    assert chain.events[-3:] == (Event("pad", 1), Event("fire", 1), Event("fire", 2))


def test_sums_keep_their_scratch_memory_and_others_share_one():
    tensors = [Tensor(16, 4, "input"), Tensor(16, 40), Tensor(16, 40)]
    tensors += [Tensor(1, 4, "output"), Tensor(1, 4, "output")]
    nodes = [
        Node((Reads(0),), 1, "rows", 100),
        Node((Reads(1, 3, 1, 1, 1, 0),), 2, "rows", 50),
        Node((Reads(1),), 3, "sum", 20),
        Node((Reads(2),), 4, "sum", 30),
    ]
    plan = smallest(tensors, nodes, align=1)
    verify(tensors, nodes, plan)
    assert plan.scratch[0] == plan.scratch[1]
    assert plan.peak == 3 * 40 + 40 + 100 + 20 + 30


def test_reading_rows_that_are_not_there_is_an_error():
    tensors = [Tensor(8, 10, "input"), Tensor(8, 10), Tensor(8, 10, "output")]
    nodes = [Node((Reads(0, window=3),), 1, "rows"), Node((Reads(1),), 2, "rows")]
    with pytest.raises(InternalError, match="tensor 0 has 8 rows"):
        smallest(tensors, nodes)
