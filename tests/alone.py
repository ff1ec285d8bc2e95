"""Code run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from depthwise.store import disk


def run_alone(code: str, cache: str = "") -> subprocess.CompletedProcess[str]:
    """Return how Python ended, with a folder for compiled kernels or with none."""
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {disk.VARIABLE: cache},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
