"""Pictures in the page's own colours, with words for those who cannot see them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from depthwise.tutorial import canvas, picture
from depthwise.tutorial.picture import INK


@picture
def drawn(words):
    figure, axes = canvas(3, 2)
    axes.plot([0, 1], [1, 3], marker="o", label="line")
    axes.legend()
    return figure, words


def svg(words):
    found = re.search(r"<svg.*</svg>", drawn(words)._repr_html_(), re.DOTALL)
    return ElementTree.fromstring(found[0])


def test_a_picture_says_what_it_shows():
    root = svg('a line from 1 to 3, "<steep>" & straight')
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a line from 1 to 3, "<steep>" & straight'


def test_letters_and_lines_take_the_colour_of_the_page():
    html = drawn("a line")._repr_html_()
    assert INK not in html
    assert "currentColor" in html
    assert "#ffffff" not in html


def test_pictures_of_one_page_do_not_share_ids():
    ids = [
        {element.get("id") for element in svg(words).iter() if element.get("id")}
        for words in ("one", "another")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]
