"""What notebooks show: tables whose texts are escaped and whose numbers are those printed."""

from html.parser import HTMLParser

import pytest
import torch

import depthwise as dw
import depthwise.torch as dwt
from depthwise.problem.html import as_html


class Tables(HTMLParser):
    """The cells of each row, and all text."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.words = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):  # noqa: ARG002
        assert tag in ("table", "caption", "thead", "tbody", "tr", "th", "td", "p"), tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.words += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_every_text_is_escaped():
    evil = "<script>alert('&')</script>"
    shown = Tables(as_html(evil, [evil, "n"], [[evil, 1]], notes=[evil]))
    assert shown.rows[0][0] == evil
    assert shown.rows[1][0] == evil
    assert shown.words.count(evil) == 4


def test_a_cost_shows_its_parts_and_all():
    cost = dw.cost("separable c8 o16 hw8 k3")
    rows = Tables(cost._repr_html_()).rows
    assert [row[0] for row in rows] == ["part", "depthwise", "pointwise", "all"]
    assert rows[-1][1:4] == [f"{n:,}" for n in (cost.params, cost.macs, cost.flops)]
    assert len(Tables(dw.cost("depthwise c8 hw8 k3")._repr_html_()).rows) == 2


@pytest.mark.parametrize("text", ["depthwise c8 hw8 k3", "inverted c8 e16 o8 hw8 k3 p1 se4"])
def test_a_kernel_shows_its_steps(text):
    kernel = dw.compile(text)
    shown = Tables(kernel._repr_html_())
    assert text in shown.words
    assert len(shown.rows) == 1 + len(kernel.steps)
    assert [row[2] for row in shown.rows[1:]] == [f"{code.tasks:,}" for code in kernel.codes]


def test_an_explanation_shows_each_schedule_and_stays_a_dictionary():
    found = dw.explain("depthwise c8 hw8 k3")
    rows = Tables(found._repr_html_()).rows[1:]
    assert [row[0] for row in rows] == [*found]
    assert [row[1] for row in rows] == [why or "taken" for why in found.values()]
    assert found == {**found}


def test_a_model_shows_its_layers_and_what_was_not_counted():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 5, 3))
    cost = dwt.cost(model, torch.zeros(1, 3, 8, 8))
    rows = Tables(cost._repr_html_()).rows
    assert [row[0] for row in rows] == ["layer", "0", "1", "total"]
    assert rows[-1][2:] == [f"{n:,}" for n in (cost.params, cost.macs, cost.flops)]
