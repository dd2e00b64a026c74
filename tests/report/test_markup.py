import json

import pytest

from genbench.report.markup import Html, e, join, json_script, row, script, table
from tests.report.dom import parse
from tests.report.made import HOSTILE


def test_text_is_escaped_and_markup_is_not() -> None:
    assert e("p", "a < b & c", e("b", "d")) == "<p>a &lt; b &amp; c<b>d</b></p>"


def test_attributes_are_quoted_and_escaped() -> None:
    made = e("a", "x", href='"><script>', class_="n", aria_label="it's", hidden=True, open=False, id=None)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" class="n" aria-label="it&#x27;s" hidden>x</a>'


def test_children_may_be_lists_and_nothing() -> None:
    assert e("ul", [e("li", "1"), None, [e("li", "2")]], None) == "<ul><li>1</li><li>2</li></ul>"
    assert join(["a", Html("<br>")]) == "a<br>"
    assert e("br") == "<br>"


def test_what_was_hostile_comes_back_as_text() -> None:
    tree = parse(e("p", HOSTILE, title=HOSTILE))
    paragraph = tree.one("p")
    assert paragraph.attributes["title"] == HOSTILE
    assert [node.name for node in tree.walk()] == ["", "p"]


def test_json_cannot_end_its_script() -> None:
    made = json_script({"text": HOSTILE, "nan": float("nan")}, "data")
    inside = parse(made).one("script", id="data").children[0]
    assert isinstance(inside, str)
    assert json.loads(inside) == {"text": HOSTILE, "nan": None}
    assert "<" not in inside
    assert "\u2028" not in inside


@pytest.mark.parametrize("source", ["'</script>'", "'</SCRIPT'", "<!-- x"])
def test_a_script_that_would_end_itself_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="would end it"):
        script(source)


def test_a_table_has_a_caption_and_heads_with_scope() -> None:
    tree = parse(table("Figures", ("name", "value"), [row("a", "1"), row("b", "2")]))
    assert tree.one("caption").text == "Figures"
    assert [node.attributes["scope"] for node in tree.all("th")] == ["col", "col", "row", "row"]
    assert tree.one("div", class_="box").attributes["tabindex"] == "0"  # it scrolls by keyboard, too
