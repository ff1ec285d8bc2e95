"""Convolutions that follow one another joined into blocks, which one kernel computes."""

from __future__ import annotations

from typing import cast

from depthwise.errors import DepthwiseError
from depthwise.network.absorb import draft_of, place, sole
from depthwise.network.draft import Draft, inverted, separable
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import PIXELS, Binary, Reduce, Reshape


def join(graph: Graph) -> None:
    """Join depthwise convolutions with the pointwise ones round them, those of real numbers."""
    for node in list(graph.nodes):
        if _kind(node) == "pointwise" and not _is_quantized(node):
            _gated(graph, node) or _ungated(graph, node)
    graph.drop_unused()
    _remark(graph)


def _remark(graph: Graph) -> None:
    """Say of each depthwise convolution that is a kernel of its own why it is."""
    for node in graph.nodes:
        if _kind(node) == "depthwise":
            users = node.output.users
            reason = f"its result is used {len(users) + graph.is_output(node.output)} times"
            if graph.used_once(node.output):
                reason = f"what follows it is no pointwise convolution but {users[0].name}"
            elif not users:
                reason = "what follows it is no pointwise convolution but the result"
            node.remark = f"computed alone: {reason}"


def _is_quantized(node: Node) -> bool:
    conv = _draft(node).conv
    return conv is not None and conv.quantized


def _kind(node: Node | None) -> str | None:
    draft = node.operator if node is not None and isinstance(node.operator, Draft) else None
    return draft.conv.kind if draft is not None and draft.conv is not None else None


def _ungated(graph: Graph, project: Node) -> bool:
    made = cast(Value, project.inputs[0])
    depthwise = made.maker
    if depthwise is None or _kind(depthwise) != "depthwise" or not graph.used_once(made):
        return False
    expand = _expansion(graph, depthwise)
    if expand and _joined(graph, project, [*expand, depthwise], []):
        return True
    drafts = _draft(depthwise), _draft(project)
    return _replaced(graph, project, separable(*drafts), [depthwise])


def _expansion(graph: Graph, depthwise: Node) -> list[Node]:
    """Return the pointwise convolution whose result only a depthwise one takes, if there is one."""
    expand = _inner(graph, depthwise.inputs[0])
    return [expand] if expand is not None else []


def _inner(graph: Graph, value: Value | None) -> Node | None:
    """Return the pointwise convolution without a residual whose result, used once, a value is."""
    maker = value.maker if sole(graph, value) is not None and value is not None else None
    ours = maker is not None and _kind(maker) == "pointwise" and len(maker.inputs) == 1
    return maker if ours else None


def _gated(graph: Graph, project: Node) -> bool:
    """Join a projection with the squeeze-and-excite and the depthwise convolution before it."""
    scaled = cast(Value, project.inputs[0])
    product = scaled.maker
    if product is None or product.name != "mul" or not graph.used_once(scaled):
        return False
    if not isinstance(product.operator, Binary):
        return False
    for image, factors in (product.inputs, product.inputs[::-1]):
        depthwise = None if image is None else image.maker
        if depthwise is not None and (found := _gate(graph, depthwise, factors, product)):
            gate = [*found, product]
            expand = _expansion(graph, depthwise)
            return any(_joined(graph, project, [*first, depthwise], gate) for first in (expand, []))
    return False


def _gate(graph: Graph, depthwise: Node, factors: Value | None, product: Node) -> list[Node] | None:
    """Return the mean and the convolutions of a gate of a depthwise convolution's result."""
    if _kind(depthwise) != "depthwise" or graph.is_output(depthwise.output):
        return None
    restore = _inner(graph, _viewed(graph, factors))
    reduce = None if restore is None else _inner(graph, _viewed(graph, restore.inputs[0]))
    means = None if reduce is None else _viewed(graph, reduce.inputs[0])
    mean = None if means is None else means.maker
    if restore is None or reduce is None or mean is None or not _is_mean_of_pixels(mean):
        return None
    if mean.inputs[0] is not depthwise.output or not graph.used_once(mean.output):
        return None
    channels = _channels(depthwise.output)
    if _channels(reduce.inputs[0]) != channels or _channels(restore.output) != channels:
        return None
    users = depthwise.output.users
    return [mean, reduce, restore] if set(users) == {mean, product} and len(users) == 2 else None


def _is_mean_of_pixels(node: Node) -> bool:
    operator = node.operator
    return isinstance(operator, Reduce) and (operator.function, operator.axes) == ("mean", PIXELS)


def _channels(value: Value | None) -> tuple[int | str, ...]:
    return value.sizes[:2] if value is not None and value.sizes is not None else ()


def _viewed(graph: Graph, value: Value | None) -> Value | None:
    """Return what a value is another shape of, where that is used nowhere else."""
    while value is not None and value.maker is not None and graph.used_once(value):
        if not isinstance(value.maker.operator, Reshape):
            break
        value = value.maker.inputs[0]
    return value


def _draft(node: Node) -> Draft:
    assert isinstance(node.operator, Draft)
    return node.operator


def _joined(graph: Graph, project: Node, before: list[Node], gate: list[Node]) -> bool:
    *expand, depthwise = before
    drafts = (_draft(gate[1]), _draft(gate[2])) if gate else None
    try:
        draft = inverted(
            _draft(expand[0]) if expand else None, _draft(depthwise), _draft(project), drafts
        )
    except DepthwiseError:
        return False
    return _replaced(graph, project, draft, [*before, *gate])


def _replaced(graph: Graph, project: Node, draft: Draft, taken: list[Node]) -> bool:
    inputs = [x for x in (taken[0].inputs[0], *project.inputs[1:]) if x is not None]
    made = place(graph, project, draft, *inputs)
    made.covers[:0] = [name for node in taken for name in node.covers]
    made.before_us += sum(node.before_us for node in taken)
    assert draft_of(made.output) is draft
    return True
