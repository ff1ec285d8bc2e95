"""What was exported: files, sizes, and the memory of each part of a call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.exporting.memory.plan import Chain
from depthwise.exporting.memory.planner import least_layer_by_layer
from depthwise.exporting.model import Move, Operation

if TYPE_CHECKING:
    from depthwise.exporting.building import Built
    from depthwise.exporting.writing import Export

HEADERS = ("operations", "by rows", "arena bytes")


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a call.

    Attributes:
        title: its operations.
        by_rows: how many of them are computed row by row; 0 where it is one that is not.
        nbytes: the memory of the arena that is in use meanwhile.
    """

    title: str
    by_rows: int
    nbytes: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """An export.

    Attributes:
        name: of the function.
        target: the device.
        folder: where the files are.
        files: their names and bytes.
        arena_bytes: the memory of a call.
        layers_bytes: the least memory of a call that computes one operation behind the other.
        weight_bytes: the bytes of the constants.
        code_bytes: of the function and its kernels, where a compiler for the target is there.
        stack_bytes: what a call takes of the stack at most, where all of it is C.
        macs: the multiply-adds of a call.
        kernels: how many machine functions there are.
        segments: the parts of a call, in order.
    """

    name: str
    target: str
    folder: Path
    files: Mapping[str, int]
    arena_bytes: int
    layers_bytes: int
    weight_bytes: int
    code_bytes: int | None
    stack_bytes: int | None
    macs: int
    kernels: int
    segments: tuple[Segment, ...]

    @classmethod
    def of(cls, export: Export, files: Mapping[str, bytes], built: Built, folder: Path) -> Report:
        """Return the report of an export that was written."""
        plan = export.plan
        return cls(
            name=export.name, target=export.target.name, folder=folder,
            files={name: len(content) for name, content in files.items()},
            arena_bytes=export.arena_bytes,
            layers_bytes=least_layer_by_layer(plan.tensors, plan.nodes),
            weight_bytes=export.weight_bytes, code_bytes=built.code_bytes,
            stack_bytes=built.stack_bytes, macs=export.model.macs,
            kernels=len(export.kernels.functions), segments=tuple(_segments(export)),
        )  # fmt: skip

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows of its table: the parts of a call."""
        for part in self.segments:
            yield part.title, str(part.by_rows or ""), f"{part.nbytes:,}"

    def notes(self) -> Iterator[str]:
        """Yield the lines below it."""
        by_rows = sum(part.by_rows for part in self.segments)
        count = by_rows + sum(not part.by_rows for part in self.segments)
        yield (
            f"{self.folder}: {self.name} for {self.target}, {self.kernels} kernels, "
            f"{self.macs:,} multiply-adds; {by_rows} of {count} operations row by row."
        )
        yield (
            f"Arena {self.arena_bytes:,} bytes (images alone, operation by operation: "
            f"{self.layers_bytes:,}); weights {self.weight_bytes:,} bytes"
            f"{_said(self.code_bytes, 'code')}{_said(self.stack_bytes, 'stack at most')}."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        value = asdict(self)
        return {**value, "folder": str(self.folder), "segments": list(value["segments"])}


def _title(operation: Operation | Move) -> str:
    return str(operation.problem) if isinstance(operation, Operation) else operation.title


def _said(size: int | None, what: str) -> str:
    return "" if size is None else f", {what} {size:,} bytes"


def _segments(export: Export) -> list[Segment]:
    operations, memory = export.model.operations, export.plan.memory
    found = []
    for segment, (_, nbytes) in zip(memory.segments, memory.timeline, strict=True):
        nodes = segment.nodes if isinstance(segment, Chain) else (segment.node,)
        titles = [_title(operations[node]) for node in nodes]
        title = titles[0] if len(titles) == 1 else f"{titles[0]} to {titles[-1]}"
        by_rows = len(nodes) if isinstance(segment, Chain) else 0
        found.append(Segment(title=title, by_rows=by_rows, nbytes=nbytes))
    return found
