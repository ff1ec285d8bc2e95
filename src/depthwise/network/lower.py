"""From a graph to steps: which nodes the engine computes together, and in which order all run."""

from __future__ import annotations

from depthwise.network.absorb import is_before_kernel, is_taken
from depthwise.network.draft import Draft
from depthwise.network.engine import Engine
from depthwise.network.graph import Graph, Node, Value, values_of
from depthwise.network.naming import short_names
from depthwise.network.operators import Foreign, Identity, Join, Permute, Reshape, Slice, Tail
from depthwise.network.steps import Call, Joined, Port, Program, Stage, Step, View
from depthwise.problem.arrays import Array


def lowered(graph: Graph, engine: Engine) -> Program:
    """Return the program of a graph."""
    return _Lowering(graph, engine).program()


class _Lowering:
    def __init__(self, graph: Graph, engine: Engine) -> None:
        self._graph, self._engine = graph, engine
        self._images = frozenset(
            value
            for node in graph.nodes
            if isinstance(node.operator, Draft)
            for value in (*node.inputs, *node.outputs)
            if value is not None
        ) | {x for x in graph.inputs if _is_seen_by_kernels(x)}
        self._groups = _groups(graph, self._images, whole=engine.takes_whole_graphs)
        used = values_of(node for node in graph.nodes)
        outside = [*used, *graph.outputs]
        kept = [each for each in dict.fromkeys(outside) if each.constant is not None]
        kept = [each for each in kept if self._taken(each)]
        self._constants: list[Array] = [each.constant for each in kept if each.constant is not None]
        self._numbers = {value: n for n, value in enumerate([*graph.inputs, *kept])}

    def _taken(self, constant: Value) -> bool:
        """Whether a constant is a value of its own, and not part of what an engine computes."""
        if not self._engine.takes_whole_graphs:
            return True
        return is_taken(constant) or self._graph.is_output(constant)

    def program(self) -> Program:
        names = self._names()
        steps = []
        for (kind, nodes), name in zip(self._groups, names, strict=True):
            steps.append(self._step(kind, nodes, name))
        shapes = {n: value.shape for value, n in self._numbers.items() if value.shape is not None}
        dtypes = {n: value.dtype for value, n in self._numbers.items() if value.dtype is not None}
        graph = self._graph
        return Program(
            inputs=tuple(Port(name=x.name, sizes=x.sizes, dtype=x.dtype) for x in graph.inputs),
            outputs=tuple(
                Port(name=name, sizes=y.sizes, dtype=y.dtype)
                for name, y in zip(graph.names, graph.outputs, strict=True)
            ),
            results=tuple(self._numbers[value] for value in graph.outputs),
            constants=tuple(self._constants),
            steps=tuple(steps),
            shapes=shapes,
            dtypes=dtypes,
            dropped=self._dropped(),
        )

    def _dropped(self) -> dict[str, tuple[str, ...]]:
        """Return the names that were dropped, but those that other nodes stand for."""
        covered = {name for node in self._graph.nodes for name in node.covers}
        left = {
            why: tuple(dict.fromkeys(name for name in names if name and name not in covered))
            for why, names in self._graph.dropped.items()
        }
        return {why: names for why, names in left.items() if names}

    def _names(self) -> list[str]:
        return short_names(
            [[name for node in nodes for name in node.covers] for _, nodes in self._groups]
        )

    def _step(self, kind: str, nodes: list[Node], name: str) -> Step:
        inside = {id(node) for node in nodes}
        taken = [
            value
            for value in dict.fromkeys(v for node in nodes for v in node.inputs if v is not None)
            if value in self._numbers and (value.maker is None or id(value.maker) not in inside)
        ]
        made = [
            value
            for node in nodes
            for value in node.outputs
            if self._graph.is_output(value) or any(id(user) not in inside for user in value.users)
        ]
        for value in made:
            self._numbers[value] = len(self._numbers)
        work: Stage | View | Joined | Call
        if kind == "kernel":
            (node,) = nodes
            assert isinstance(node.operator, Draft)
            work = Stage(node.operator.spec, node.operator.operands)
            taken = [value for value in node.inputs if value is not None]
        elif kind == "view":
            (node,) = nodes
            assert isinstance(node.operator, (Permute, Reshape, Tail))
            work = View(node.operator)
        elif kind == "join":
            (node,) = nodes
            assert isinstance(node.operator, Join)
            work = Joined(node.operator)
            taken = [value for value in node.inputs if value is not None]
        else:
            payload = self._engine.write(nodes, taken, made, self._images)
            work = Call(
                self._engine, payload, self._engine.title(nodes), of_shapes=kind == "shapes",
                may_view=self._engine.shares_memory and any(map(_may_view, nodes)),
            )  # fmt: skip
        reasons = dict.fromkeys(node.reason for node in nodes if node.reason)
        return Step(
            name=name,
            work=work,
            inputs=tuple(self._numbers[value] for value in taken),
            outputs=tuple(self._numbers[value] for value in made),
            before_us=sum(node.before_us for node in nodes),
            reason="; ".join(reasons) or None,
            remark="; ".join(node.remark for node in nodes if node.remark) or None,
            covers=tuple(dict.fromkeys(name for node in nodes for name in node.covers if name)),
        )


def _may_view(node: Node) -> bool:
    operator = node.operator
    foreign = isinstance(operator, Foreign) and operator.may_view
    return foreign or isinstance(operator, (Identity, Permute, Reshape, Slice))


def _groups(graph: Graph, images: frozenset[Value], *, whole: bool) -> list[tuple[str, list[Node]]]:
    """Return what is computed as one, in order: each kernel, each view, and what the engine takes.

    Nodes of the engine belong together where no kernel lies between them.  Every node has a level,
    which grows from kernels to the engine and back along each path; those of one level are one.
    """
    kinds = _kinds(graph, images, whole=whole)
    level: dict[int, int] = {}
    for node in graph.nodes:
        mine, least = kinds[id(node)], 0
        for value in node.inputs:
            if value is not None and value.maker is not None:
                before = id(value.maker)
                least = max(least, level[before] + (_side(kinds[before]) != _side(mine)))
        level[id(node)] = least if least % 3 == _side(mine) else _next(least, _side(mine))
    found: dict[tuple[int, str], list[Node]] = {}
    order: list[tuple[int, str, list[Node]]] = []
    for node in graph.nodes:
        kind, at = kinds[id(node)], level[id(node)]
        if kind in ("kernel", "view", "join") or not whole:
            order.append((at, kind, [node]))
        elif (at, kind) in found:
            found[at, kind].append(node)
        else:
            found[at, kind] = [node]
            order.append((at, kind, found[at, kind]))
    return [(kind, nodes) for _, kind, nodes in sorted(order, key=lambda item: item[0])]


def _side(kind: str) -> int:
    return {"shapes": 0, "kernel": 1, "view": 1, "join": 1, "engine": 2}[kind]


def _next(level: int, side: int) -> int:
    """Return the first level from here on that belongs to a side."""
    return level + (side - level) % 3


def _kinds(graph: Graph, images: frozenset[Value], *, whole: bool) -> dict[int, str]:
    """Return for each node, by its identity, who computes it."""
    kinds: dict[int, str] = {}
    shapes_only: set[int] = set()
    for node in graph.nodes:
        if isinstance(node.operator, Draft):
            kinds[id(node)] = "kernel"
            continue
        if isinstance(node.operator, Join):
            kinds[id(node)] = "join"
            continue
        taken = [value for value in node.inputs if value is not None and value.constant is None]
        operator = node.operator
        only = isinstance(operator, Foreign) and operator.of_shapes
        only = only and all(value.shape is not None for value in taken)  # or elements decide on it
        if not only:
            repeats = not isinstance(operator, Foreign) or operator.repeatable
            only = bool(taken) and repeats and all(id(value) in shapes_only for value in taken)
        if only:
            shapes_only |= {id(value) for value in node.outputs}
            kinds[id(node)] = "shapes"
        else:
            is_view = _views(graph, node, images, kinds, inputs=whole)
            kinds[id(node)] = "view" if is_view else "engine"
    return kinds


def _is_seen_by_kernels(value: Value) -> bool:
    """Whether a value that is no image, such as rows of pixels, is one in another shape."""
    return len(value.shape or ()) in (2, 3) and any(
        isinstance(user.operator, (Permute, Reshape)) and is_before_kernel(user.output)
        for user in value.users
    )


def _views(
    graph: Graph, node: Node, images: frozenset[Value], kinds: dict[int, str], *, inputs: bool
) -> bool:
    """Whether a node is another shape of what a kernel made or takes, and no work for an engine.

    Args:
        graph: the network.
        node: any.
        images: see `Engine.write`.
        kinds: who computes the nodes before.
        inputs: whether inputs are arrays that may be viewed.
    """
    if not isinstance(node.operator, (Permute, Reshape, Tail)):
        return False
    x = node.inputs[0]
    if x is None or x.constant is not None:
        return False
    ours = x in images or (x.maker is not None and kinds[id(x.maker)] in ("view", "join"))
    ours |= inputs and any(x is each for each in graph.inputs) and is_before_kernel(node.output)
    wanted = graph.is_output(node.output) or any(
        isinstance(user.operator, (Draft, Permute, Reshape, Join, Tail))
        for user in node.output.users
    )
    return ours and wanted
