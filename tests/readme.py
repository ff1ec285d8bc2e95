"""Run the Python examples of README.md and of the pages for those who come from elsewhere.

Those of a page run in order and in one namespace, as a reader would run them.  Networks of the same
architecture with random weights stand in for timm's, which would be downloaded.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from depthwise.bench.networks.mobilenet_v2 import mobilenet_v2
from depthwise.bench.networks.weights import randomized

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FROM_ELSEWHERE = sorted((ROOT / "docs" / "coming").glob("from_*.md"))


def python_blocks(text: str) -> list[tuple[int, str]]:
    """Return the line number and the code of each ```python block."""
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, block.start(1)) + 1, block[1]) for block in blocks]


def create_model(name: str, *, pretrained: bool) -> nn.Module:
    """Return what stands in for a model of timm."""
    assert (name, pretrained) == ("mobilenetv2_100", True)
    return randomized(mobilenet_v2(), (1, 3, 224, 224))


def run(page: Path, only: str = "") -> int:
    """Run the examples of a page that contain `only`, saying which, and return how many did.

    One that fails ends the run with its traceback.
    """
    blocks = [each for each in python_blocks(page.read_text(encoding="utf-8")) if only in each[1]]
    if not blocks:
        raise ValueError(f"{page} holds Python examples; got none")
    sys.modules["timm"] = timm = ModuleType("timm")
    timm.create_model = create_model  # type: ignore[attr-defined]
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line, code in blocks:
        print(f"{page.relative_to(ROOT)}:{line}", flush=True)
        padded = "\n" * (line - 1) + code  # a traceback shows the line of the page
        exec(compile(padded, str(page), "exec"), namespace)
    return len(blocks)


if __name__ == "__main__":
    print(sum(map(run, (README, *FROM_ELSEWHERE))), "examples ran")
