"""Token counts on the client's side, and prompts of an exact length. Never a download behind one's back.

`load` finds a tokenizer by what the user gave: a folder with tokenizer.json (or files transformers can read), a name in
the local hub cache, `tiktoken:NAME`, or `server` (its /tokenize). Counts are of content: no special tokens are added.
"""

import json
import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, cycle
from pathlib import Path
from typing import Any

from genbench.errors import ConfigError

Post = Callable[[str, dict[str, Any]], dict[str, Any]]  # (path, body) -> answer; raises OSError or ValueError

CHECKED = 64  # so many fitted prompts are encoded at first, and then every so-manieth
ATTEMPTS = 64  # to meet a length where a word's tokens depend on its neighbours
DROPPED = 8  # words given up at most, to end on a sum that the fillers can reach
NEAREST = (0, -1, 1, -2, 2, -3, 3, -4, 4)  # tokens beside the wanted length, where no words make exactly that
ROOM = 64  # tokens that fillers are combined to fill
# The end of a word and a space in one token: byte-level, SentencePiece and tiktoken write the space like this.
ACROSS = re.compile("[A-Za-z0-9](?:Ġ|▁| )")


class _Fillers:
    """Words by what they cost after another one, and which of them together make so many tokens."""

    def __init__(self, words: Sequence[str], cost: Callable[[str], int]) -> None:
        self.words = words
        self.by_cost: dict[int, list[str]] = {}
        for word in words:
            self.by_cost.setdefault(cost(word), []).append(word)
        self.by_cost.pop(0, None)
        # For every room the costs one may begin with, so that other fillers fill what is left.
        self._ways: list[list[int]] = [[0]]
        for room in range(1, ROOM + 1):
            self._ways.append([each for each in self.by_cost if each <= room and self._ways[room - each]])

    def fill(self, room: int, turn: int) -> list[str] | None:
        """Words that cost exactly `room` tokens, others for another `turn`; None where there are none."""
        found: list[str] = []
        while room:
            ways = self._ways[room] if 0 < room <= ROOM else []
            if not ways:
                return None
            turn = (turn * 69069 + 1) & 0xFFFFFFFF  # of a linear congruential generator the high bits are the good ones
            cost = ways[(turn >> 24) % len(ways)]
            found.append(self.by_cost[cost][(turn >> 8) % len(self.by_cost[cost])])
            room -= cost
        return found


class Tokenizer:
    """Counts tokens; `local` ones are exact and cheap enough to fit every prompt with.

    `decode` and `pieces` (the vocabulary by id as it is written in its file, without special and added tokens) are
    those of a local one.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[str], Sequence[int]],
        *,
        local: bool,
        decode: Callable[[Sequence[int]], str] | None = None,
        pieces: Callable[[], Mapping[int, str]] | None = None,
    ) -> None:
        self.name = name
        self.encode = encode
        self.local = local
        self._decode = decode
        self._pieces = pieces
        self._costs: dict[str, int] = {}  # after another word
        self._openings: dict[str, int] = {}  # at the beginning of a text
        self._fillers = _Fillers((), self.cost)
        self._adds_up: bool | None = None  # None: not looked at yet
        self._fitted = 0

    def count(self, text: str) -> int:
        """Number of tokens of a text as content."""
        return len(self.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without special ones. Raises ConfigError for a tokenizer that only counts."""
        if self._decode is None:
            raise ConfigError(f"--tokenizer {self.name} only counts; name a folder with tokenizer.json")
        return self._decode(ids)

    def vocabulary(self) -> list[int]:
        """The ids that may be drawn, in order: not the special and added tokens.

        Raises ConfigError for a tokenizer that only counts.
        """
        if self._pieces is None:
            raise ConfigError(f"--tokenizer {self.name} only counts; name a folder with tokenizer.json")
        return sorted(self._pieces())

    def cost(self, word: str) -> int:
        """Tokens a word adds after another one; remembered."""
        cost = self._costs.get(word)
        if cost is None:
            cost = self._costs[word] = max(0, self.count(f"the {word}") - self._opening("the"))
        return cost

    def _opening(self, word: str) -> int:
        cost = self._openings.get(word)
        if cost is None:
            cost = self._openings[word] = self.count(word)
        return cost

    def fit(self, words: list[str], length: int, fillers: Sequence[str]) -> tuple[str, int]:
        """Cut or lengthen a list of words to exactly `length` tokens: (text, its count).

        Words are dropped at the end, and the gap is filled with fillers. Where the tokenizer's merges forbid the exact
        length, the nearest found is returned; its count tells.

        The count is the sum of what the words cost after a space. That is exact as long as no token reaches over the
        space after a word, for which the vocabulary is searched once. What else could make it wrong (a normaliser that
        eats spaces, say) is looked for by encoding: the first 64 texts, then every 64th, and every one with a word not
        met before. From the first that differs on, as for a tokenizer whose tokens reach over spaces or whose
        vocabulary is not known, every text is encoded, and one of the wanted length is searched for.
        """
        self._fitted += 1
        met = len(self._costs)
        if fillers is not self._fillers.words:
            self._fillers = _Fillers(fillers, self.cost)
        found, predicted = self._composed(words, length)
        text = " ".join(found)
        if self._adds_up is None:
            self._adds_up = self._pieces is not None and ACROSS.search("\n".join(self._pieces().values())) is None
        if self._adds_up and self._fitted > CHECKED and self._fitted % CHECKED and len(self._costs) == met:
            return text, predicted
        count = self.count(text)
        if count == length:
            return text, count
        if self._adds_up:
            if count == predicted:
                return text, count
            self._adds_up = False
        return self._searched(words, length, (text, count))

    def _searched(self, words: list[str], length: int, best: tuple[str, int]) -> tuple[str, int]:
        """The text whose real count is nearest to `length`; `best` is the one to beat.

        The words that are not too many are found by trying, then fillers are tried behind them.
        """

        def tried(some: list[str]) -> int:
            nonlocal best
            text = " ".join(some)
            count = self.count(text)
            if abs(count - length) < abs(best[1] - length):
                best = text, count
            return count

        low, high = [0, 0], [len(words), tried(words)]  # words and their count
        for _ in range(DROPPED):  # a tokenizer may count any number of unknown words as one token
            if high[1] >= length:
                break
            words = self._lengthened(words, [high[1]], 2 * length - high[1])[0]
            high = [len(words), tried(words)]
        while high[0] - low[0] > 1 and best[1] != length:
            share = (length - low[1]) / max(1, high[1] - low[1])
            kept = low[0] + min(max(1, round(share * (high[0] - low[0]))), high[0] - low[0] - 1)
            count = tried(words[:kept])
            low, high = ([kept, count], high) if count <= length else (low, [kept, count])
        base, room = words[: low[0]], length - low[1]
        start = zlib.crc32(" ".join(words[:1]).encode())
        for turn in range(start + 1, start + ATTEMPTS):
            if best[1] == length or not self._fillers.words:
                break
            if turn % DROPPED == 0 and base:
                base = base[:-1]
                room = length - (tried(base) if base else 0)
            tail = self._fillers.fill(room, turn) or [self._fillers.words[turn % len(self._fillers.words)]]
            count = tried(base + tail)
            if count < length:
                base, room = base + tail, length - count
        return best

    def _composed(self, words: list[str], length: int) -> tuple[list[str], int]:
        """Words whose costs sum up to `length` or as near as can be, and that sum."""
        costs = self._costs
        try:
            each = [costs[word] for word in words]
        except KeyError:
            each = [self.cost(word) for word in words]
        if words:
            each[0] = self._opening(words[0])
        sums = list(accumulate(each))
        if not sums or sums[-1] < length:
            words, sums = self._lengthened(words, sums, length)
        for beside in NEAREST:
            found = self._summing_to(words, sums, length + beside)
            if found is not None:
                return found, length + beside
        kept = max(1, bisect_right(sums, length))
        if kept < len(sums) and sums[kept] - length < length - sums[kept - 1]:
            kept += 1
        return words[:kept], sums[kept - 1] if sums else 0

    def _lengthened(self, words: list[str], sums: list[int], length: int) -> tuple[list[str], list[int]]:
        """With fillers behind until the last of the sums is at least `length`."""
        words, sums = list(words), list(sums)
        if not self._fillers.by_cost:
            return words, sums
        start = zlib.crc32(" ".join(words[-1:]).encode())
        for word in cycle(_rotated(self._fillers.words, start)):
            if sums and sums[-1] >= length:
                break
            sums.append(sums[-1] + self.cost(word) if words else self._opening(word))
            words.append(word)
        return words, sums

    def _summing_to(self, words: list[str], sums: list[int], aim: int) -> list[str] | None:
        """The words' beginning and fillers that sum up to `aim`; None where there are none."""
        kept = bisect_right(sums, aim)
        for k in range(kept, max(0, kept - DROPPED), -1):
            if sums[k - 1] == aim:
                return words[:k]
            tail = self._fillers.fill(aim - sums[k - 1], zlib.crc32(words[k - 1].encode()))
            if tail is not None:
                return words[:k] + tail
        if not 0 < aim <= ROOM:
            return None
        # Too short for the first word, or no sum fits behind it: another word in its place.
        start = zlib.crc32(" ".join(words[:1]).encode())
        for other in _rotated(self._fillers.words, start):
            tail = self._fillers.fill(aim - self._opening(other), start)
            if tail is not None:
                return [other, *tail]
        return None


def _rotated(words: Sequence[str], start: int) -> list[str]:
    at = start % max(1, len(words))
    return [*words[at:], *words[:at]]


def load(name: str, *, download: bool, post: Post) -> tuple[Tokenizer | None, str]:
    """The tokenizer a user named, or None and one sentence that says how to get it.

    Raises ConfigError for a folder without tokenizer files, an unknown tiktoken encoding, a server without /tokenize.
    """
    if name == "server":
        return _server(post), ""
    if name.startswith("tiktoken:"):
        return _tiktoken(name, download=download)
    path = Path(name).expanduser()
    if path.is_dir():
        return _folder(name, path), ""
    if path.is_file():
        return _from_file(name, path), ""
    if name.startswith((".", "/", "~")) or os.sep + os.sep in name:
        raise ConfigError(f"--tokenizer {name}: no such folder; give a folder with tokenizer.json or a name")
    return _hub(name, download=download)


def _from_file(name: str, path: Path) -> Tokenizer:
    from tokenizers import Tokenizer as Fast

    try:
        fast = Fast.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception for what it cannot parse
        raise ConfigError(f"--tokenizer {name}: {path.name} cannot be read ({error}); give a tokenizer.json") from error
    fast.no_padding()
    fast.no_truncation()

    def encode(text: str) -> Sequence[int]:
        return fast.encode(text, add_special_tokens=False).ids

    def decode(ids: Sequence[int]) -> str:
        return fast.decode(ids, skip_special_tokens=True)

    def pieces() -> Mapping[int, str]:
        added = fast.get_added_tokens_decoder()
        return {k: piece for piece, k in fast.get_vocab(with_added_tokens=False).items() if k not in added}

    return Tokenizer(name, encode, local=True, decode=decode, pieces=pieces)


def _folder(name: str, path: Path) -> Tokenizer:
    if (path / "tokenizer.json").is_file():
        return _from_file(name, path / "tokenizer.json")
    if not any(path.glob("tokenizer*")) and not any(path.glob("vocab*")):
        raise ConfigError(f"--tokenizer {name}: no tokenizer files in that folder; give one with tokenizer.json")
    return _transformers(name)


def _transformers(name: str) -> Tokenizer:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError(
            f"--tokenizer {name} has no tokenizer.json; pip install 'genbench[transformers]' to read older formats"
        ) from error
    slow = AutoTokenizer.from_pretrained(name, local_files_only=True)

    def encode(text: str) -> Sequence[int]:
        return list(slow.encode(text, add_special_tokens=False))

    def decode(ids: Sequence[int]) -> str:
        return str(slow.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def pieces() -> Mapping[int, str]:
        others = {*slow.all_special_ids, *slow.get_added_vocab().values()}
        return {k: piece for piece, k in slow.get_vocab().items() if k not in others}

    return Tokenizer(name, encode, local=True, decode=decode, pieces=pieces)


def _hub(name: str, *, download: bool) -> tuple[Tokenizer | None, str]:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "tokenizer.json")
    except HFValidationError as error:
        raise ConfigError(f"--tokenizer {name} is neither a folder nor a hub name; check it") from error
    if isinstance(cached, str):
        return _from_file(name, Path(cached)), ""
    if download:
        try:
            return _from_file(name, Path(hf_hub_download(name, "tokenizer.json"))), ""
        except Exception as error:  # any of the hub client's many network errors: the run can do without
            return None, f"tokenizer {name} could not be downloaded ({type(error).__name__}); the server's usage counts"
    return None, (
        f"tokenizer {name} is not on this machine, so token counts are the server's;"
        f" get it with --download or `hf download {name} tokenizer.json`"
    )


def _tiktoken(name: str, *, download: bool) -> tuple[Tokenizer | None, str]:
    try:
        import tiktoken
        import tiktoken.load
    except ImportError as error:
        raise ConfigError(f"--tokenizer {name} needs tiktoken; pip install 'genbench[tiktoken]'") from error
    wanted = name.removeprefix("tiktoken:")
    if wanted not in tiktoken.list_encoding_names():
        try:
            wanted = tiktoken.encoding_name_for_model(wanted)
        except KeyError as error:
            known = ", ".join(tiktoken.list_encoding_names())
            raise ConfigError(f"--tokenizer {name}: no such encoding; use one of {known}, or a model's name") from error

    def refuse(blobpath: str) -> bytes:
        raise ConnectionError(blobpath)

    fetch = tiktoken.load.read_file  # what tiktoken calls when its cache does not have the file
    if not download:
        tiktoken.load.read_file = refuse
    try:
        encoding = tiktoken.get_encoding(wanted)
    except OSError:  # requests' errors are OSErrors too
        how = "it could not be downloaded" if download else "allow it with --download, or set TIKTOKEN_CACHE_DIR"
        return None, f"the file of {name} is not on this machine, so token counts are the server's; {how}"
    finally:
        tiktoken.load.read_file = fetch

    def encode(text: str) -> Sequence[int]:
        return encoding.encode(text, disallowed_special=())

    def pieces() -> Mapping[int, str]:
        # A byte as the character of that number: what the pieces are searched for is ASCII.
        return {encoding.encode_single_token(raw): raw.decode("latin-1") for raw in encoding.token_byte_values()}

    return Tokenizer(name, encode, local=True, decode=encoding.decode, pieces=pieces), ""


def _server(post: Post) -> Tokenizer:
    def encode(text: str) -> Sequence[int]:
        answer = post("/tokenize", {"prompt": text, "content": text, "add_special_tokens": False})
        tokens = answer.get("tokens")
        if isinstance(tokens, list):
            return tokens
        if isinstance(answer.get("count"), int):
            return range(answer["count"])
        raise ValueError(f"no tokens in {json.dumps(answer)[:80]}")

    try:
        encode("hello")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--tokenizer server: /tokenize does not answer as expected ({error}); name another"
        ) from error
    return Tokenizer("server", encode, local=False)
