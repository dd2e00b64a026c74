"""HTML from values: whatever is not `Html` already is escaped, so that no text of a server's can become markup.

Nothing else in the report writes an angle bracket.
"""

import html
from collections.abc import Iterable
from typing import TypeAlias, Union

import orjson

VOID = frozenset({"br", "input", "link", "meta"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = Union[str, "Iterable[Child]", None]


def e(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """An element. `class_` is class, `aria_label` is aria-label; True is an attribute alone, None and False none."""
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    opened = f"<{' '.join(words)}>"
    return Html(opened if name in VOID else f"{opened}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(map(_text, children)))


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(child, quote=False)
    return join(child)


def script(source: str, **attributes: str) -> Html:
    """A script element. Raises ValueError for a source that would end it or open a comment in it."""
    lower = source.lower()
    if "</script" in lower or "<!--" in lower:
        raise ValueError("a script must hold neither </script nor <!--: they would end it")
    words = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<script{words}>{source}</script>")


def json_script(value: object, id_: str) -> Html:
    """Data for the page's script: JSON in which no character can end the element. NaN is null."""
    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return script(text, type="application/json", id_=id_)


def table(
    caption: str,
    head: Iterable[Child],
    rows: Iterable[Html],
    *,
    class_: str | None = None,
    seen: bool = False,
) -> Html:
    """A table in a box of its own, which scrolls where the page is narrow. A caption that is not seen is read aloud."""
    columns = [e("th", cell, scope="col") for cell in head]
    made = e(
        "table",
        e("caption", caption, class_=None if seen else "heard"),
        e("thead", e("tr", columns)),
        e("tbody", rows),
        class_=class_,
    )
    return e("div", made, class_="box", tabindex="0", role="group", aria_label=caption)


def row(first: Child, *cells: Child, class_: str | None = None, numbers: bool = True) -> Html:
    """A row with its head; the cells are numbers, or words."""
    return e(
        "tr",
        e("th", first, scope="row"),
        [e("td", cell, class_="n" if numbers else None) for cell in cells],
        class_=class_,
    )
