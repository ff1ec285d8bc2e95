"""Chains in C: operations computed row by row, each tensor between them a ring of its last rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from depthwise.exporting.arrays_text import number
from depthwise.exporting.driver import Places
from depthwise.exporting.kernels import Buffer, Launch, Weight
from depthwise.exporting.memory.nodes import Reads
from depthwise.exporting.memory.plan import Chain, Event
from depthwise.problem.dtypes import QUANTIZED

RINGS = """\
/* The last rows of an image: those from `low` to `high`, in memory for `capacity` of them. */
struct ring {
  unsigned char *at;
  size_t row_bytes;
  int32_t capacity, low, high;
};

static unsigned char *row_of(const struct ring *ring, int32_t row) {
  return ring->at + (size_t)(row - ring->low) * ring->row_bytes;
}

/* Returns where the next rows go; rows before `keep` are dropped where there is no room. */
static unsigned char *room(struct ring *ring, int32_t rows, int32_t keep) {
  unsigned char *next;
  if (ring->high - ring->low + rows > ring->capacity) {
    if (keep > ring->high) keep = ring->high;
    memmove(ring->at, row_of(ring, keep), (size_t)(ring->high - keep) * ring->row_bytes);
    ring->low = keep;
  }
  next = row_of(ring, ring->high);
  ring->high += rows;
  return next;
}
"""


def helpers_of(places: Places, chain: Chain) -> set[str]:
    """Return the small functions that kernels of C share and a chain calls too."""
    kinds = (places.plan.nodes[node].kind for node in chain.nodes)
    sums = [node for node, kind in zip(chain.nodes, kinds, strict=True) if kind == "sum"]
    rounds = any(places.operation(node).problem.dtype in QUANTIZED for node in sums)
    return {"dw_round"} if rounds else set()


def chain_text(places: Places, chain: Chain, number: int, parameters: str) -> str:
    """Return the function of a chain.

    Args:
        places: where everything lies.
        chain: what is computed in which order.
        number: which chain of the network it is.
        parameters: the arrays of a call, as parameters in C.
    """
    return "\n".join(_Chain(places, chain, number).lines(parameters)) + "\n"


@dataclass(frozen=True)
class _Chain:
    places: Places
    chain: Chain
    number: int

    @cached_property
    def _ring_of(self) -> dict[int, int]:
        return {ring.tensor: index for index, ring in enumerate(self.chain.rings)}

    @cached_property
    def _place_of(self) -> dict[int, int]:
        return {node: index for index, node in enumerate(self.chain.nodes)}

    def lines(self, parameters: str) -> Iterator[str]:
        """Yield the lines of the function."""
        events = list(dict.fromkeys(self.chain.events))
        kind = "uint8_t" if len(events) <= 256 else "uint16_t"
        order = [str(events.index(event)) for event in self.chain.events]
        yield f"static void rows_{self.number}({parameters}, unsigned char *a) {{"
        yield f"  static const {kind} order_[] = {{"
        yield from _wrapped(order, "    ")
        yield "  };"
        if self.chain.rings:
            yield f"  struct ring rings_[{len(self.chain.rings)}] = {{"
            for ring in self.chain.rings:
                tensor = self.places.plan.tensors[ring.tensor]
                yield (
                    f"    {{a + {ring.offset}, {tensor.row_bytes}, {ring.capacity}, "
                    f"{-ring.above}, 0}}, /* {tensor.name} */"
                )
            yield "  };"
        yield f"  int32_t done_[{len(self.chain.nodes)}] = {{0}};"
        for name in self.places.names.parameters.values():
            yield f"  (void){name};"
        for ring in self.chain.rings:
            if ring.above:
                size = ring.above * self.places.plan.tensors[ring.tensor].row_bytes
                yield f"  memset(a + {ring.offset}, {self._pad(ring.tensor)}, {size});"
        for node in self._sums():
            yield f"  memset({self.places.work(node)}, 0, {self._sum_bytes(node)});"
        yield "  for (size_t step_ = 0; step_ < sizeof order_ / sizeof order_[0]; ++step_) {"
        yield "    switch (order_[step_]) {"
        for index, event in enumerate(events):
            yield f"      case {index}: {{"
            yield from (f"        {line}" for line in self._event(event))
            yield "        break;"
            yield "      }"
        yield "      default: break;"
        yield "    }"
        yield "  }"
        yield "}"

    def _sums(self) -> list[int]:
        nodes = self.places.plan.nodes
        return [node for node in self.chain.nodes if nodes[node].kind == "sum"]

    def _sum_bytes(self, node: int) -> int:
        return 4 * self.places.operation(node).problem.output_shape[-1]

    def _pad(self, tensor: int) -> int:
        pads = {
            read.pad
            for node in self.chain.nodes
            for read in self.places.plan.nodes[node].reads
            if read.tensor == tensor and read.is_padded
        }
        (pad,) = pads
        return int(pad) & 255  # type: ignore[call-overload, no-any-return]

    def _keep(self, tensor: int) -> str:
        """Return the first row of a ring that is still needed."""
        needs = [
            _row(f"done_[{self._place_of[node]}]", read)
            for node in self.chain.nodes
            for read in self.places.plan.nodes[node].reads
            if read.tensor == tensor and self._in_ring(read)
        ]
        first, *others = dict.fromkeys(needs)
        for other in others:
            first = f"({first} < {other} ? {first} : {other})"
        return first

    def _is_whole(self, tensor: int) -> bool:
        known = self.places.names
        return (
            tensor in self.places.plan.memory.places
            or tensor in known.parameters
            or tensor in known.constants
        )

    def _in_ring(self, read: Reads) -> bool:
        """Whether a node reads the ring of a tensor."""
        return read.tensor in self._ring_of and (read.is_padded or not self._is_whole(read.tensor))

    def _event(self, event: Event) -> Iterator[str]:
        plan = self.places.plan
        if event.kind == "fire":
            if plan.nodes[event.which].kind == "sum":
                yield from self._summed(event.which)
            else:
                yield from self._fired(event.which)
            return
        ring = self._ring_of[event.which]
        size = plan.tensors[event.which].row_bytes
        keep = self._keep(event.which)
        if event.kind == "pad":
            below = self.chain.rings[ring].below
            pad = self._pad(event.which)
            yield f"memset(room(&rings_[{ring}], {below}, {keep}), {pad}, {below * size});"
        else:
            source = self._whole(event.which, f"rings_[{ring}].high", size, made=False)
            yield f"const unsigned char *row_ = {source};"
            yield f"memcpy(room(&rings_[{ring}], 1, {keep}), row_, {size});"

    def _fired(self, node: int) -> Iterator[str]:
        operation, call = self.places.operation(node), self.places.plan.calls[node]
        rows, done = self.chain.at_once[node], f"done_[{self._place_of[node]}]"
        reads = dict(zip(operation.reads, self.places.plan.nodes[node].reads, strict=True))
        yield f"/* {call.title} */"
        for index, read in enumerate(reads.values()):
            yield f"const unsigned char *x{index}_ = {self._read(read, done)};"
        yield f"unsigned char *y_ = {self._made(operation.makes, rows, done)};"
        where = {name: f"(const void *)x{index}_" for index, name in enumerate(reads)}
        for launch in call.launches:
            yield self._launch(launch, node, where)
        yield f"{done} += {rows};"

    def _launch(self, launch: Launch, node: int, where: dict[str, str]) -> str:
        arguments = []
        for argument, written in zip(launch.arguments, launch.function.writes, strict=True):
            if isinstance(argument, (Weight, Buffer)):
                arguments.append(self.places.argument(argument, node, written=written))
            else:
                arguments.append("(void *)y_" if written else where[argument])
        emitted, call = launch.function.emitted, self.places.plan.calls[node]
        if emitted.scratch_bytes:
            arguments.append(f"(void *)({self.places.work(node, call.buffer_bytes)})")
        return f"{launch.function.name}({', '.join(arguments)}, 0, {emitted.tasks});"

    def _read(self, read: Reads, done: str) -> str:
        row = _row(done, read)
        if self._in_ring(read):
            return f"row_of(&rings_[{self._ring_of[read.tensor]}], {row})"
        size = self.places.plan.tensors[read.tensor].row_bytes
        return self._whole(read.tensor, row, size, made=False)

    def _made(self, tensor: int, rows: int, done: str) -> str:
        if self._is_whole(tensor):
            size = self.places.plan.tensors[tensor].row_bytes
            return self._whole(tensor, done, size, made=True)
        return f"room(&rings_[{self._ring_of[tensor]}], {rows}, {self._keep(tensor)})"

    def _whole(self, tensor: int, row: str, size: int, *, made: bool) -> str:
        where = self.places.tensor(tensor)
        if not where.startswith("a + "):
            where = f"({'' if made else 'const '}unsigned char *){where}"
        return f"{where} + (size_t)({row}) * {size}"

    def _summed(self, node: int) -> Iterator[str]:
        """Yield the lines that add a row to the sums of pixels, and behind the last make means."""
        operation = self.places.operation(node)
        problem, done = operation.problem, f"done_[{self._place_of[node]}]"
        _, height, width, channels = problem.input_shape
        (read,) = self.places.plan.nodes[node].reads
        kind = f"{problem.dtype}_t" if problem.dtype in QUANTIZED else "float"
        sums = "int32_t" if problem.dtype in QUANTIZED else "float"
        yield f"/* {problem} */"
        yield f"const {kind} *x_ = (const {kind} *)(const void *)({self._read(read, done)});"
        yield f"{sums} *sums_ = ({sums} *)(void *)({self.places.work(node)});"
        yield f"for (int32_t i_ = 0; i_ < {width}; ++i_)"
        yield f"  for (int32_t c_ = 0; c_ < {channels}; ++c_)"
        yield f"    sums_[c_] += x_[i_ * {channels} + c_];"
        yield f"if (++{done} == {height}) {{"
        target = self.places.tensor(operation.makes)
        where = f"({target})" if target.startswith("a + ") else target
        yield f"  {kind} *y_ = ({kind} *)(void *){where};"
        pixels = prod((height, width))
        if problem.dtype in QUANTIZED:
            yield from self._quantized_mean(node, pixels, channels)
        else:
            yield f"  for (int32_t c_ = 0; c_ < {channels}; ++c_) y_[c_] = sums_[c_] / {pixels}.0f;"
        yield "}"

    def _quantized_mean(self, node: int, pixels: int, channels: int) -> Iterator[str]:
        weights = self.places.operation(node).weights
        scale = np.float32(weights["scale"].ravel()[0]) / np.float32(pixels)
        zeros, bounds = weights["zeros"].ravel(), weights["bounds"].ravel()
        kind = self.places.operation(node).problem.dtype
        yield f"  for (int32_t c_ = 0; c_ < {channels}; ++c_) {{"
        zero, factor = int(zeros[0]) * pixels, number(float(scale), "float32")
        yield f"    float mean_ = (float)(sums_[c_] - ({zero})) * {factor};"
        least, most = (int(bound) - int(zeros[1]) for bound in bounds)
        yield f"    if (mean_ < {least}.0f) mean_ = {least}.0f;"
        yield f"    if (mean_ > {most}.0f) mean_ = {most}.0f;"
        yield f"    y_[c_] = ({kind}_t)(dw_round(mean_) + {int(zeros[1])});"
        yield "  }"


def _row(done: str, read: Reads) -> str:
    """Return the first row that a node reads for its next one."""
    row = done if read.stride == 1 else f"{done} * {read.stride}"
    return f"{row} - {read.above}" if read.above else row


def _wrapped(words: list[str], indent: str) -> Iterator[str]:
    line = indent
    for word in words:
        if len(line) + len(word) + 2 > 100:
            yield line.rstrip()
            line = indent
        line += f"{word}, "
    yield line.rstrip()
