"""The pages of the site, read without building it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import depthwise
import depthwise.torch

DOCS = Path(__file__).parents[1] / "docs"
TUTORIAL = sorted(path for path in DOCS.glob("tutorial/*.md") if path.stem != "index")
REFERENCE = [path for path in sorted(DOCS.glob("reference/*.md")) if path.stem != "index"]
_CELL = re.compile(r"^```\{code-cell\}\n(:tags: [^\n]*\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)


def cells(page: Path) -> list[tuple[str, list[ast.stmt]]]:
    """Return the tags and the statements of each code cell."""
    found = _CELL.findall(page.read_text(encoding="utf-8"))
    return [(tags, ast.parse(code).body) for tags, code in found]


def says(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Name(id="say"))):
            return True
    return False


@pytest.mark.parametrize("page", TUTORIAL, ids=lambda page: page.stem)
def test_a_page_hides_what_it_sets_up(page):
    tags, statements = cells(page)[0]
    assert isinstance(statements[0], ast.Import | ast.ImportFrom)
    assert "hide-input" in tags


@pytest.mark.parametrize("page", TUTORIAL, ids=lambda page: page.stem)
def test_a_page_hides_code_that_only_makes_sentences(page):
    alone = [tags for tags, statements in cells(page) if all(map(says, statements))]
    assert all("hide-input" in tags for tags in alone)


def named(module: str) -> set[str]:
    """Return what of a module the reference describes."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE)
    pattern = rf"^\.\. (?:auto(?:function|class|module)|py:data):: {re.escape(module)}\.(\w+)$"
    return set(re.findall(pattern, text, re.MULTILINE))


@pytest.mark.parametrize("module", [depthwise, depthwise.torch], ids=lambda m: m.__name__)
def test_the_reference_describes_every_public_name(module):
    assert set(module.__all__) - named(module.__name__) == set()


@pytest.mark.parametrize(
    "page",
    [page for page in REFERENCE if page.stem not in ("command_line", "errors")],
    ids=lambda page: page.stem,
)
def test_every_entry_of_the_reference_has_an_example(page):
    fences = re.findall(r"^```(\{?[\w-]+\}?)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    after = [fences[k + 1 : k + 2] for k, fence in enumerate(fences) if fence == "{eval-rst}"]
    assert after
    assert all(found in (["{code-cell}"], ["python"]) for found in after), after
