"""Problems in small whole numbers: every order of summation gives the same bits.

(Behind the gate of a squeeze-and-excite block, and behind means, they are no longer whole.)
"""

import numpy as np

import depthwise as dw
from depthwise.problem import reference
from depthwise.problem.dtypes import DTYPES, element

COMPUTED = [name for name in DTYPES if not element(name).storage]
"""The types of real numbers that are computed in themselves."""
EXACT = (None, "relu", "relu6")
"""The activations that make whole numbers of whole numbers."""


def exact_problem(problem):
    """Return input, operands and the exact result of a problem."""
    if problem.element.is_integer:
        x, *operands, y = dw.random_problem(problem)
        return x, operands, reference.forward(problem, x, *operands).astype(y.dtype)
    rng = np.random.default_rng(0)
    shapes = [problem.input_shape, *problem.operands.values()]
    x, *operands = (rng.integers(-3, 4, shape).astype(problem.dtype) for shape in shapes)
    return x, operands, reference.forward(problem, x, *operands).astype(problem.dtype)


def check_exact(problem, plan=None, cpu=None):
    """Fail where a kernel's result is not exact."""
    x, operands, expected = exact_problem(problem)
    kernel = dw.compile(problem, plan, cpu)
    got = kernel(x, *operands, out=poisoned(problem))
    assert_same(got, expected, f"{problem} by {kernel.plan}")


def assert_same(got, expected, said=""):
    """Fail where elements differ; NaN is NaN, also of types that NumPy does not know."""
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got.astype(np.float64), expected.astype(np.float64), said)


def poisoned(problem):
    """Return an output in which an element that is never written shows."""
    dtype = problem.dtype_of("y")
    return np.full(problem.output_shape, nothing(dtype), dtype)


def nothing(dtype):
    """Return what arrays hold where nothing is written."""
    return np.nan if np.dtype(dtype).kind == "f" else 77


_DIVIDED = (
    "mean", "meansquare", "l2", "norm", "groupnorm", "elementwise", "avgpool", "linear",
    "attention",
)  # fmt: skip


def is_exact(problem):
    """Whether the result consists of whole numbers."""
    parts = problem.parts or (getattr(problem, "conv", problem),)
    gated = getattr(problem, "squeeze_excite", None) is not None
    divided = problem.kind in _DIVIDED and not problem.element.is_integer
    divided |= any(part.chain for part in problem.parts)
    return not (gated or divided) and all(
        getattr(part, "activation", None) in EXACT for part in parts
    )


def differences(problem, got, expected):
    """Return how many elements are not what they should be."""
    if is_exact(problem):
        return int((got != expected).sum())
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    off = max(1e-5, problem.element.epsilon)
    close = off * np.abs(expected).max()
    return int((~np.isclose(got, expected, rtol=off, atol=close)).sum())
