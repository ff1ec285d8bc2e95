"""Compiles problems, a line of standard input each, into the cache: run as a process of its own."""

from __future__ import annotations

import sys

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import DepthwiseError


def main() -> None:
    """Answer each line when its kernel is in the cache, or cannot be compiled."""
    threads = int(sys.argv[1])
    for line in sys.stdin:
        try:
            compile_kernel(line.strip(), threads=threads)
        except DepthwiseError as error:
            print(error, flush=True)  # noqa: T201
        else:
            print(flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
