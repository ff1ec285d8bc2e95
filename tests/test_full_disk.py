"""Disks that are full, or that code cannot be loaded from: kernels are compiled all the same."""

from __future__ import annotations

import os
import resource
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


LIMITED = """
import resource, sys, warnings
import numpy as np
import depthwise as dw
from depthwise.errors import DepthwiseError
from depthwise.problem import reference

resource.setrlimit(resource.RLIMIT_FSIZE, tuple(map(int, sys.argv[1:])))
spec = dw.parse("depthwise c8 hw6 k3 p1 nhwc")
x, weight, out = dw.random_problem(spec)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        got = dw.compile(spec)(x, weight)
    except DepthwiseError as error:
        sys.exit(f"refused: {error}")
np.testing.assert_allclose(got, reference.forward(spec, x, weight), *reference.tolerance(spec))
"""


@pytest.mark.parametrize("size", [0, 1000])
@pytest.mark.parametrize("hard", [False, True])
def test_a_limit_on_the_size_of_files_ends_no_process(size, hard, tmp_path):
    """It holds for files in memory too; only a hard one cannot be lifted."""
    highest = size if hard else resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(size), str(highest)],
        env=os.environ | {disk.VARIABLE: str(tmp_path / "cache")},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = f"refused: code is made where files may have 67108864 bytes (ulimit -f); got {size}\n"
    assert (done.returncode, done.stderr) == ((1, said) if hard else (0, ""))
