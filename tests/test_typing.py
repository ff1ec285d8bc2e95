"""The types of arrays in and out, as mypy sees them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow  # mypy reads all of PyTorch, which takes a minute without its cache
def test_mypy_sees_the_kind_of_array_that_comes_out():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "tests/typed_arrays.py"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
