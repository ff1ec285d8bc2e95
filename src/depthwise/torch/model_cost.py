"""The cost of a torch model: totals, layers, what was not counted; a table, or plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rich import box
from rich.table import Table

from depthwise import console
from depthwise.problem.html import as_html

_COLUMNS = {"params": "params", "macs": "MACs", "flops": "FLOPs"}
_BACKWARD = {
    "recomputed_macs": "MACs recomputed",
    "input_gradient_macs": "of input gradient",
    "weight_gradient_macs": "of weight gradient",
}


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The cost of one module, without the modules inside it."""

    name: str
    """The qualified name, as `named_modules` gives it; empty for the model itself."""
    kind: str
    """The name of its type."""
    params: int
    """Elements of its parameters; of those that layers share, with the first layer alone."""
    macs: int
    """Multiply-accumulates of the forward pass, each time that the layer runs."""
    recomputed_macs: int = 0
    """Those of the forward pass that the backward pass computes again."""
    input_gradient_macs: int = 0
    """Those of the gradients with respect to whatever was computed from the model's inputs."""
    weight_gradient_macs: int = 0
    """Those of the gradients with respect to weights."""

    @property
    def flops(self) -> int:
        """Floating point operations of the forward pass: 2 per MAC."""
        return 2 * self.macs


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """The cost of a model for its whole example; printed, it is a table."""

    layers: tuple[LayerCost, ...]
    """The modules that have parameters or MACs of their own, in the order of `named_modules`."""
    uncounted: dict[str, int] = field(hash=False)
    """Operators that compute and have no rule here, and how often each ran."""
    backward: bool
    """Whether the backward pass was counted too."""

    @property
    def params(self) -> int:
        """Elements of all parameters, shared ones once."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the forward pass."""
        return sum(layer.macs for layer in self.layers)

    @property
    def recomputed_macs(self) -> int:
        """Multiply-accumulates of the forward pass that the backward pass computes again."""
        return sum(layer.recomputed_macs for layer in self.layers)

    @property
    def input_gradient_macs(self) -> int:
        """Multiply-accumulates of all input gradients."""
        return sum(layer.input_gradient_macs for layer in self.layers)

    @property
    def weight_gradient_macs(self) -> int:
        """Multiply-accumulates of all weight gradients."""
        return sum(layer.weight_gradient_macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating point operations of the forward pass: 2 per MAC."""
        return 2 * self.macs

    def as_dict(self) -> dict[str, Any]:
        """Return totals, layers and what was not counted as plain values, fit for JSON."""
        layers = [asdict(layer) | {"flops": layer.flops} for layer in self.layers]
        totals = {name: getattr(self, name) for name in ("params", "macs", "flops", *_BACKWARD)}
        if not self.backward:
            for values in (totals, *layers):
                for name in _BACKWARD:
                    del values[name]
        return {**totals, "layers": layers, "uncounted": dict(self.uncounted)}

    def _repr_html_(self) -> str:
        columns = self._columns
        rows = [
            [layer.name or "(model)", layer.kind, *(f"{getattr(layer, n):,}" for n in columns)]
            for layer in self.layers
        ]
        rows.append(["total", "", *(f"{getattr(self, name):,}" for name in columns)])
        headers = "layer", "type", *columns.values()
        return as_html("cost", headers, rows, words=2, notes=self._notes)

    @property
    def _columns(self) -> dict[str, str]:
        return _COLUMNS | (_BACKWARD if self.backward else {})

    @property
    def _notes(self) -> list[str]:
        names = ", ".join(f"{name} ({times})" for name, times in self.uncounted.items())
        return [f"not counted: {names}"] if names else []

    def __str__(self) -> str:
        columns = self._columns
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=True)
        table.add_column("layer", "total")
        table.add_column("type")
        for name, header in columns.items():
            table.add_column(header, f"{getattr(self, name):,}", justify="right")
        for layer in self.layers:
            counts = (f"{getattr(layer, name):,}" for name in columns)
            table.add_row(layer.name or "(model)", layer.kind, *counts)
        return "\n".join([console.as_text(table), *self._notes])
