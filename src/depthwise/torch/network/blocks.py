"""Stages that follow one another joined into blocks, which one kernel computes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx

from depthwise.errors import DepthwiseError
from depthwise.torch.network.absorb import draft_of, place, sole
from depthwise.torch.network.draft import Draft, inverted, separable
from depthwise.torch.network.naming import called
from depthwise.torch.network.operators import (
    is_mean_of_pixels,
    is_stage,
    name_of,
    shape_of,
    target_name,
)
from depthwise.torch.network.simplify import covers, replace
from depthwise.torch.network.tracing import Trace


def join(trace: Trace) -> None:
    """Join depthwise convolutions with the pointwise ones round them."""
    for node in list(trace.graph.nodes):
        if _kind(node) == "pointwise":
            _gated(node) or _ungated(node)
    trace.graph.eliminate_dead_code()


def left_apart(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield the depthwise convolutions that are kernels of their own, each with the reason."""
    for node in trace.graph.nodes:
        if _kind(node) == "depthwise":
            users = list(node.users)
            reason = f"its result is used {len(users)} times"
            if len(users) == 1:
                stage, target = is_stage(users[0]), users[0].target
                behind = draft_of(users[0]).spec.kind if stage else target_name(target)
                reason = f"what follows it is no pointwise convolution but {behind or 'the result'}"
            yield called(node), f"computed alone: {reason}"


def _kind(node: Any) -> str | None:
    conv = draft_of(node).conv if is_stage(node) else None
    return conv.kind if conv is not None else None


def _ungated(project: fx.Node) -> bool:
    depthwise: Any = project.args[0]
    if _kind(depthwise) != "depthwise" or not _only_for(depthwise, project):
        return False
    expand = _expansion(depthwise)
    if expand and _joined(project, [*expand, depthwise], None):
        return True
    draft = separable(draft_of(depthwise), draft_of(project))
    return _replaced(project, draft, depthwise.args[0], [depthwise])


def _expansion(depthwise: fx.Node) -> list[fx.Node]:
    """Return the pointwise convolution whose result only a depthwise one takes, if there is one."""
    expand = depthwise.args[0]
    return [expand] if _inner(expand) else []  # type: ignore[list-item]


def _inner(node: Any) -> bool:
    """Whether a node is a pointwise convolution without a residual whose result is used once."""
    return _kind(node) == "pointwise" and sole(node) and len(node.args) == 1


def _gated(project: fx.Node) -> bool:
    """Join a projection with the squeeze-and-excite and the depthwise convolution before it."""
    product: Any = project.args[0]
    if name_of(product) != "mul" or len(product.users) > 1:
        return False
    for depthwise, restore in (product.args[:2], product.args[1::-1]):
        if found := _gate(depthwise, restore, product):
            gate = [*found, product]
            expand = _expansion(depthwise)
            return any(_joined(project, [*first, depthwise], gate) for first in (expand, []))
    return False


def _gate(depthwise: Any, restore: Any, product: Any) -> list[fx.Node] | None:
    """Return the mean and the convolutions of a gate of a depthwise convolution's result."""
    restore = _viewed(restore)
    if _kind(depthwise) != "depthwise" or not _inner(restore) or not _inner(restore.args[0]):
        return None
    reduce = restore.args[0]
    mean = _viewed(reduce.args[0])
    if not is_mean_of_pixels(mean) or mean.args[0] is not depthwise or len(mean.users) > 1:
        return None
    channels = shape_of(depthwise)[:2]
    if shape_of(reduce.args[0])[:2] != channels or shape_of(restore)[:2] != channels:
        return None
    return [mean, reduce, restore] if set(depthwise.users) == {mean, product} else None


def _viewed(node: Any) -> Any:
    """Return what a node is another shape of, where that is used nowhere else."""
    while name_of(node) in ("view", "reshape", "flatten", "unsqueeze") and len(node.users) == 1:
        node = node.args[0]
    return node


def _only_for(node: Any, user: fx.Node) -> bool:
    return sole(node) and user.args[0] is node and node not in user.args[1:]


def _joined(project: fx.Node, before: list[Any], gate: list[Any] | None) -> bool:
    *expand, depthwise = before
    drafts = None if gate is None else (draft_of(gate[1]), draft_of(gate[2]))
    try:
        draft = inverted(
            draft_of(expand[0]) if expand else None,
            draft_of(depthwise), draft_of(project), drafts,
        )  # fmt: skip
    except DepthwiseError:
        return False
    return _replaced(project, draft, before[0].args[0], [*before, *(gate or [])])


def _replaced(project: fx.Node, draft: Draft, x: Any, taken: list[fx.Node]) -> bool:
    made = place(project, draft, x, *project.args[1:])  # type: ignore[arg-type]
    assert shape_of(made) == shape_of(project)
    for node in taken:
        covers(made).extend(covers(node))
    replace(project, made)
    return True
