"""The prefix cache of the scheduler brain: which beginnings of prompts are known, in blocks of 16 tokens.

A block's name depends on all tokens up to its end, so a chain of names is a prefix. The cache keeps the names used
last, as many as the KV room holds. It is a room of its own: what running sequences hold does not push blocks out.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

BLOCK = 16


def blocks(tokens: Sequence[object]) -> tuple[int, ...]:
    """Names of the whole blocks of these tokens, in order."""
    found, name = [], 0
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        name = hash((name, *islice(tokens, start, start + BLOCK)))
        found.append(name)
    return tuple(found)


class PrefixCache:
    """Block names, the least recently used first."""

    def __init__(self, kv_tokens: int) -> None:
        self._most = kv_tokens // BLOCK
        self._names: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._names)

    def match(self, chain: Sequence[int]) -> int:
        """Tokens at the beginning of the chain that are known; they count as used now."""
        known = 0
        while known < len(chain) and chain[known] in self._names:
            known += 1
        self.insert(chain[:known])
        return BLOCK * known

    def insert(self, chain: Iterable[int]) -> None:
        """Know these blocks. The end of a chain goes before its beginning, without which it is of no use."""
        names = self._names
        for name in reversed(tuple(chain)):
            names.pop(name, None)
            names[name] = None
        while len(names) > self._most:
            del names[next(iter(names))]
