"""The compute function in C: launches of kernels one after the other, on the arena."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from depthwise.exporting.kernels import Argument, Buffer, Call, Function, Launch, Weight
from depthwise.exporting.memory.plan import Chain
from depthwise.exporting.model import Model, Move, Operation, Slot
from depthwise.exporting.planning import Plan


@dataclass(frozen=True)
class Names:
    """What everything is called in C.

    Attributes:
        parameters: the arrays of a call, by the number of their tensor.
        weights: the constant arrays in order.
        constants: those of the tensors that are constant, by number.
        blob: whether constants lie in a run of bytes, `w`.
    """

    parameters: Mapping[int, str]
    weights: tuple[str, ...]
    constants: Mapping[int, str]
    blob: bool


@dataclass(frozen=True)
class Places:
    """Where arrays lie, as expressions of C.  `a` is the aligned begin of the arena."""

    model: Model
    plan: Plan
    names: Names

    def operation(self, node: int) -> Operation:
        """Return the operation of a node that has a problem."""
        operation = self.model.operations[node]
        assert isinstance(operation, Operation)
        return operation

    def tensor(self, number: int) -> str:
        """Return where a whole tensor lies."""
        if number in self.names.parameters:
            return self.names.parameters[number]
        if number in self.names.constants:
            return self.names.constants[number]
        return f"a + {self.plan.memory.places[number]}"

    def slot(self, slot: Slot, *, written: bool = False) -> str:
        """Return where an array lies that begins within a tensor."""
        first = slot.first * self.model.tensors[slot.tensor].itemsize
        if slot.tensor in self.plan.memory.places:
            return f"a + {self.plan.memory.places[slot.tensor] + first}"
        whole = self.tensor(slot.tensor)
        return (
            f"({'' if written else 'const '}unsigned char *){whole} + {first}" if first else whole
        )

    def argument(self, argument: Argument, node: int, *, written: bool) -> str:
        """Return an argument of a launch of a node."""
        if isinstance(argument, Weight):
            return self.names.weights[argument.number]
        if isinstance(argument, Buffer):
            return f"(void *)({self.work(node, argument.first)})"
        where = self.slot(self.operation(node).slots[argument], written=written)
        return where if where.isidentifier() else f"({'' if written else 'const '}void *)({where})"

    def work(self, node: int, first: int = 0) -> str:
        """Return where the memory lies that a node works in."""
        return f"a + {self.plan.memory.scratch[node] + first}"


def compute_body(places: Places, *, threads: bool) -> Iterator[str]:
    """Yield the lines of the compute function behind the alignment of its arena.

    Args:
        places: where everything lies.
        threads: whether the caller's threads run the tasks of each launch.
    """
    chains = 0
    for segment in places.plan.memory.segments:
        if isinstance(segment, Chain):
            first, last = segment.nodes[0], segment.nodes[-1]
            yield f"/* {_title(places, first)} to {_title(places, last)}, row by row */"
            given = [*places.names.parameters.values(), *["w"] * places.names.blob, "a"]
            yield f"rows_{chains}({', '.join(given)});"
            chains += 1
            continue
        operation = places.model.operations[segment.node]
        if isinstance(operation, Move):
            yield f"/* {operation.title} */"
            yield from moved(places, operation)
        else:
            call = places.plan.calls[segment.node]
            yield f"/* {call.title} */"
            for launch in call.launches:
                yield from launched(places, launch, call, segment.node, threads=threads)


def moved(places: Places, move: Move) -> Iterator[str]:
    """Yield the lines that copy elements into another order."""
    tensor = places.model.tensors[move.makes]
    source, target = places.slot(move.source), places.tensor(move.makes)
    if move.is_in_order:
        yield f"memcpy({target}, {source}, {tensor.nbytes});"
        return
    yield "{"
    yield f"  const unsigned char *from_ = (const unsigned char *)({source});"
    yield f"  unsigned char *to_ = (unsigned char *)({target});"
    indent, terms = "  ", []
    for axis, (size, stride) in enumerate(zip(move.shape, move.strides, strict=True)):
        yield f"{indent}for (size_t i{axis}_ = 0; i{axis}_ < {size}; ++i{axis}_)"
        terms.append(f"i{axis}_ * {stride * tensor.itemsize}")
        indent += "  "
    size, where = tensor.itemsize, " + ".join(terms)
    yield f"{indent}memcpy(to_, from_ + {where}, {size}), to_ += {size};"
    yield "}"


def launched(
    places: Places, launch: Launch, call: Call, node: int, *, threads: bool
) -> Iterator[str]:
    """Yield the lines of a launch."""
    function = launch.function
    pairs = zip(launch.arguments, function.writes, strict=True)
    arguments = [places.argument(each, node, written=written) for each, written in pairs]
    emitted = function.emitted
    scratch = f"(void *)({places.work(node, call.buffer_bytes)})" if emitted.scratch_bytes else ""
    if not threads or emitted.tasks == 1:
        given = ", ".join([*arguments, *filter(None, [scratch])])
        yield f"{function.name}({given}, 0, {emitted.tasks});"
        return
    read = [each for each, written in zip(arguments, function.writes, strict=True) if not written]
    made = [each for each, written in zip(arguments, function.writes, strict=True) if written]
    yield f"run(threads, context, {_task(function)}, &(const struct work){{"
    yield f"  {{{', '.join(read)}}}, {{{', '.join(made)}}}, {scratch or '0'}, {call.scratch_bytes}"
    yield f"}}, {emitted.tasks});"


def task_text(function: Function) -> str:
    """Return the function in C by which a thread of the caller's computes a run of tasks."""
    read, made, arguments = 0, 0, []
    for written in function.writes:
        arguments.append(f"w->made[{made}]" if written else f"w->read[{read}]")
        read, made = read + (not written), made + written
    if function.emitted.scratch_bytes:
        arguments.append("(void *)(w->scratch + (size_t)worker * w->scratch_bytes)")
    unused = "" if function.emitted.scratch_bytes else "  (void)worker;\n"
    return (
        f"static void {_task(function)}(const void *work, int32_t worker, int32_t first, "
        "int32_t last) {\n"
        f"  const struct work *w = (const struct work *)work;\n{unused}"
        f"  {function.name}({', '.join(arguments)}, first, last);\n}}\n"
    )


def prototype(function: Function) -> str:
    """Return the declaration of a function that lies in an object of its own."""
    kinds = ["void *" if written else "const void *" for written in function.writes]
    kinds += ["void *"] * bool(function.emitted.scratch_bytes)
    return f"void {function.name}({', '.join(kinds)}, int32_t first, int32_t last);"


def _task(function: Function) -> str:
    return f"task_{function.name}"


def _title(places: Places, node: int) -> str:
    call = places.plan.calls.get(node)
    return call.title if call else str(places.operation(node).problem)
