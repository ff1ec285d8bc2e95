"""Results in an array of the caller's: what one call found out, the next does not ask again."""

import numpy as np
import pytest
import torch

import depthwise as dw
from depthwise.errors import ArrayError, DTypeError
from depthwise.functions import call
from depthwise.kernel import kernel
from depthwise.problem import arrays

RNG = np.random.default_rng(5)
X = RNG.standard_normal((1, 6, 5, 5), dtype=np.float32)
WEIGHT = RNG.standard_normal((6, 1, 3, 3), dtype=np.float32)
BOUND = dw.compile("depthwise c6 hw5 k3 p1").bind(WEIGHT)
EXPECTED = BOUND(X)
KINDS = {"numpy": np.asarray, "torch": torch.from_numpy}


def function(x, out=None):
    weight = torch.from_numpy(WEIGHT) if torch.is_tensor(x) else WEIGHT
    return dw.depthwise_conv2d(x, weight, padding=1, out=out)


CALLS = [(function, "numpy"), (function, "torch"), (BOUND, "numpy"), (BOUND, "torch")]
any_call = pytest.mark.parametrize(("compute", "kind"), CALLS)


@any_call
def test_the_second_call_refuses_what_the_first_would(compute, kind):
    memory = np.zeros(X.size + 7, np.float32)
    memory[: X.size] = X.ravel()
    before = memory.copy()
    as_kind = KINDS[kind]
    x, out = as_kind(memory[: X.size].reshape(X.shape)), as_kind(np.empty_like(X))
    for _ in range(2):
        assert compute(x, out=out) is out
        np.testing.assert_array_equal(out, EXPECTED)
    for start in (0, 7):
        over = as_kind(memory[start:][: X.size].reshape(X.shape))
        with pytest.raises(ArrayError, match="out shares no memory with an input"):
            compute(x, out=over)
    np.testing.assert_array_equal(memory, before)
    with pytest.raises(ArrayError, match="out has shape"):
        compute(x, out=out[:, :5])
    with pytest.raises(DTypeError, match="out has the problem's dtype"):
        compute(x, out=as_kind(np.empty(X.shape)))
    np.testing.assert_array_equal(compute(x, out=as_kind(np.empty_like(X))), EXPECTED)


@any_call
def test_an_output_directly_behind_the_input_is_none_of_it(compute, kind):
    memory = np.empty(2 * X.size, np.float32)
    for first, second in ((0, X.size), (X.size, 0)):
        x, out = (memory[at : at + X.size].reshape(X.shape) for at in (first, second))
        x[...] = X
        compute(KINDS[kind](x), out=KINDS[kind](out))
        np.testing.assert_array_equal(out, EXPECTED)


@pytest.mark.parametrize("compute", [function, BOUND])
def test_an_array_that_became_read_only_is_refused(compute):
    out = compute(X, out=np.empty_like(X))
    out.flags.writeable = False
    with pytest.raises(ArrayError, match="out is writable"):
        compute(X, out=out)


@pytest.mark.parametrize("compute", [function, BOUND])
def test_a_tensor_whose_storage_was_freed_is_refused(compute):
    x, out = torch.from_numpy(X), torch.empty(X.shape)
    compute(x, out=out)
    version = out._version
    compute(x, out=out)
    assert out._version > version
    out.untyped_storage().resize_(0)
    with pytest.raises(ArrayError, match="out has a storage that holds its elements"):
        compute(x, out=out)


@pytest.mark.parametrize("compute", [function, BOUND])
def test_a_tensor_that_requires_gradients_is_refused_where_others_like_it_were_taken(compute):
    for _ in range(2):
        compute(torch.from_numpy(X))
    with pytest.raises(ArrayError, match="x requires no gradient here"):
        compute(torch.from_numpy(X).requires_grad_())


@any_call
def test_outputs_that_lie_alike_are_looked_at_once(compute, kind, monkeypatch):
    x, out = KINDS[kind](X), KINDS[kind](np.empty_like(X))
    compute(x, out=out)
    compute(x)
    compute(x, out=out)
    for module, names in ((call, ("as_numpy", "write")), (kernel, ("fit", "as_numpy", "write"))):
        for name in names:
            monkeypatch.setattr(module, name, None)
    monkeypatch.setattr(arrays, "check_output", None)
    np.testing.assert_array_equal(compute(x, out=out), EXPECTED)


def test_outputs_without_a_signature_are_written_to(tmp_path):
    mapped = np.memmap(tmp_path / "y", np.float32, "w+", shape=X.shape)
    for _ in range(2):
        assert function(X, out=mapped) is mapped
        np.testing.assert_array_equal(mapped, EXPECTED)
    with pytest.raises(ArrayError, match="out is dense"):
        function(torch.from_numpy(X), out=torch.ones(X.shape).to_sparse())
