"""Disks that are full, or that code cannot be loaded from: kernels are compiled all the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from depthwise.store import disk

COMPUTE = """
import os, sys, warnings
from pathlib import Path
import numpy as np
import depthwise as dw
from depthwise.problem import reference
from depthwise.store import cache

place, room = Path(sys.argv[1]), int(sys.argv[2])
cache.disk.folder(cache.KERNELS, cache.fingerprint())
with open(place / "fill", "wb", buffering=0) as fill:
    try:
        while True:
            fill.write(bytes(4096))
    except OSError:
        fill.truncate(max(fill.tell() - room, 0))
spec = dw.parse("depthwise c8 hw6 k3 p1 nhwc")
x, weight, out = dw.random_problem(spec)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    got = dw.compile(spec)(x, weight)
np.testing.assert_allclose(got, reference.forward(spec, x, weight), *reference.tolerance(spec))
print(*(f"{each.category.__name__}: {each.message}" for each in caught), sep="\\n")
"""
MOUNTED = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
OWN_MOUNTS = ["unshare", "--mount", "sh", "-c", MOUNTED, "sh"]
LITTLE, MUCH = 8192, 2**20
UNKEPT, UNLINKED = "not everything is kept on disk", "kernels are loaded without a linker"


def mounts_here():
    try:
        return not subprocess.run([*OWN_MOUNTS, "size=1m", "/mnt", "true"], check=False).returncode
    except FileNotFoundError:
        return False


@pytest.mark.skipif(os.geteuid() != 0 or not mounts_here(), reason="only root mounts disks")
@pytest.mark.parametrize(
    ("options", "room", "cached", "temporary", "expected"),
    [
        ("size=1m", 0, True, False, [UNKEPT]),
        ("size=1m", LITTLE, True, True, [UNKEPT, UNLINKED]),
        ("size=1m", LITTLE, False, True, [UNLINKED]),
        ("size=4m,noexec", MUCH, False, True, [UNLINKED]),
    ],
)
def test_a_kernel_is_compiled_after_a_warning(options, room, cached, temporary, expected, tmp_path):
    """A disk with so much room has the cache, the temporary files, or both."""
    small = tmp_path / "small"
    small.mkdir()
    cache, folder = small / "cache" if cached else "", small if temporary else tmp_path
    compute = [sys.executable, "-c", COMPUTE, small, str(room)]
    done = subprocess.run(
        [*OWN_MOUNTS, f"mode=700,{options}", small, *compute],
        env=os.environ | {disk.VARIABLE: str(cache), "TMPDIR": str(folder)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    warned = done.stdout.splitlines()
    assert len(warned) == len(expected), warned
    for line, beginning in zip(warned, expected, strict=True):
        assert line.startswith(f"CacheWarning: {beginning}: ")
