"""Run the Python examples of README.md, in order and in one namespace, as a reader would."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def python_blocks(text: str) -> list[tuple[int, str]]:
    """Return the line number and the code of each ```python block."""
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, block.start(1)) + 1, block[1]) for block in blocks]


def main() -> None:
    """Run every block, saying which; a block that fails ends the run with its traceback."""
    blocks = python_blocks(README.read_text(encoding="utf-8"))
    if not blocks:
        sys.exit(f"{README.name} holds no Python example")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line, code in blocks:
        print(f"{README.name}:{line}", flush=True)
        padded = "\n" * (line - 1) + code  # a traceback shows the line of README.md
        exec(compile(padded, str(README), "exec"), namespace)
    print(f"{len(blocks)} examples ran")


if __name__ == "__main__":
    main()
