"""onnx's own tests of back ends: what ONNX Runtime passes passes here, on kernels where we can."""

import pytest

from onnx_backend import (
    KINDS,
    Runtime,
    Weighted,
    claimed,
    counted,
    fails,
    names,
    on_page,
    outcome,
    outcomes,
)


@pytest.mark.parametrize("kind", ["Simple", "PyTorchConverted", "PyTorchOperator"])
def test_models_pass(kind):
    found = [outcome(kind, name) for name in names(kind)]
    assert len(found) > 10
    failed = {each.name: each.failure for each in found if each.failure is not None}
    worse = {name: said for name, said in failed.items() if fails(Runtime, kind, name) is None}
    assert worse == {}


def test_operators_of_ours_pass_with_constants_as_weights():
    cases = claimed()
    assert len(cases) > 200
    found = [outcome("Node", name, Weighted) for name in cases]
    failed = {each.name: each.failure for each in found if each.failure is not None}
    worse = {name: said for name, said in failed.items() if fails(Runtime, "Node", name) is None}
    assert worse == {}
    by_kernels = {each.operator for each in found if each.ours}
    assert by_kernels >= {"BatchNormalization", "Conv", "Gemm", "GlobalAveragePool", "MatMul"}


@pytest.mark.slow
def test_counts_of_the_documentation():
    """All cases pass that ONNX Runtime passes, and docs/onnx.md counts them."""
    found = list(outcomes())
    plain = [each for each in found if each.kind in KINDS and each.failure]
    worse = [each for each in plain if fails(Runtime, each.kind, each.name) is None]
    assert worse == []
    assert counted(found) == on_page()
