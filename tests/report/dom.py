"""A page as a tree, by the standard library's parser; a page whose tags do not match is an error."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from genbench.report.markup import VOID


@dataclass
class Node:
    """An element: its attributes, its children, and its text (that of its children left out)."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list["Node | str"] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        """The element and all below it."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, name: str, **attributes: str) -> list["Node"]:
        """Elements of a name that have these attributes; a class counts as one of several words."""
        return [node for node in self.walk() if node.name == name and node.has(attributes)]

    def one(self, name: str, **attributes: str) -> "Node":
        """The only such element."""
        found = self.all(name, **attributes)
        assert len(found) == 1, f"{len(found)} of {name} {attributes}"
        return found[0]

    def has(self, wanted: dict[str, str]) -> bool:
        """Whether the attributes are there."""
        return all(
            value in self.attributes.get(key.rstrip("_").replace("_", "-"), "").split()
            if key == "class_"
            else self.attributes.get(key.rstrip("_").replace("_", "-")) == value
            for key, value in wanted.items()
        )

    @property
    def text(self) -> str:
        """All text in it, white space made one."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join(" ".join(parts).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {key: value or "" for key, value in attrs})
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        last = self._open.pop()
        assert last.name == tag, f"</{tag}> ends <{last.name}>"

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(page: str) -> Node:
    """The tree of a page."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader._open == [reader.root], "not every element is closed"
    return reader.root
