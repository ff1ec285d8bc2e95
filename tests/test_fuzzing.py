"""`make fuzz` draws more examples, and a failure there ends with the line that repeats it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import conftest

PROPERTIES = """
from hypothesis import given, settings, strategies as st

numbers = st.integers(0, 2**64)

def write(name, number):
    with open(name, "a") as file:
        print(number, file=file)

@settings(max_examples=4)
@given(numbers)
def test_right(number):
    write("right", number)

@given(numbers)
def test_wrong(number):
    write("wrong", number)
    assert number < 2**32
"""


def fuzz(folder, *arguments):
    """Run properties as `make fuzz` does; return what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider",
         "-m", "hypothesis", "--hypothesis-profile=fuzz", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_a_failure_is_repeated_by_the_line_it_ends_with(tmp_path):
    (tmp_path / "test_drawn.py").write_text(PROPERTIES)
    said = fuzz(tmp_path)
    assert "@reproduce_failure(" in said
    (arguments,) = re.findall(r'^make fuzz ARGS="problems (.*)"$', said, re.MULTILINE)
    numbers = (tmp_path / "wrong").read_text()
    fuzz(tmp_path, *shlex.split(arguments))
    assert (tmp_path / "wrong").read_text() == 2 * numbers
    assert len((tmp_path / "right").read_text().split()) == conftest.FUZZ_FACTOR * 4
