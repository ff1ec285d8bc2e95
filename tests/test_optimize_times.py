"""The times in a report: they add up, and each operator of the model is in one row."""

from __future__ import annotations

from importlib import import_module

import pytest

import depthwise.torch as dwt
from depthwise.torch.network.operators import name_of
from depthwise.torch.network.profile import measure
from optimizing import images
from small_networks import SIZE, small_network

optimizing_page = import_module("depthwise.torch.optimize")


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_b0",
        pytest.param("convnext_tiny", marks=pytest.mark.slow),
        "transformers.convnext_v2",
    ],
)
def test_each_operator_is_in_one_row(name: str, monkeypatch) -> None:
    bits: dict[str, int] = {}

    def numbered(traced, inputs):
        measure(traced, inputs)
        calls = [node for node in traced.graph.nodes if node.op == "call_function"]
        for number, node in enumerate(calls):
            node.meta["us"] = 2**number
            bits[node.name] = 2**number
            if name_of(node) == "sym_size":
                del bits[node.name]

    monkeypatch.setattr(optimizing_page, "measure", numbered)
    report = dwt.optimize(small_network(name), images(1, 3, SIZE, SIZE)).report
    rows = [int(row.before_us) for row in report.rows]
    assert sum(rows) == sum(bits.values())
    found = [name for row in rows for name, bit in bits.items() if row & bit]
    assert sorted(found) == sorted(bits)


def test_rows_and_what_is_between_them_are_whole_calls() -> None:
    model = small_network("mobilenet_v2")
    report = dwt.optimize(model, images(1, 3, SIZE, SIZE)).report
    for side in ("before_us", "after_us"):
        total = getattr(report, f"total_{side}")
        assert sum(getattr(row, side) for row in report.lines) == pytest.approx(total)
        assert all(getattr(row, side) >= 0 for row in report.rows)
    assert all(row.before_us > 0 for row in report.rows if row.kind != "torch")
    assert report.largest_difference_given < report.tolerance
