"""Token counts on the client's side, and prompts of an exact length. Never a download behind one's back.

`load` finds a tokenizer by what the user gave: a folder with tokenizer.json (or files transformers can read), a name in
the local hub cache, `tiktoken:NAME`, or `server` (its /tokenize). Counts are of content: no special tokens are added.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genbench.errors import ConfigError

Post = Callable[[str, dict[str, Any]], dict[str, Any]]  # (path, body) -> answer; raises OSError or ValueError


class Tokenizer:
    """Counts tokens; `local` ones are exact and cheap enough to fit every prompt with."""

    def __init__(self, name: str, encode: Callable[[str], Sequence[int]], *, local: bool) -> None:
        self.name = name
        self.encode = encode
        self.local = local
        self._costs: dict[str, int] = {}

    def count(self, text: str) -> int:
        """Number of tokens of a text as content."""
        return len(self.encode(text))

    def cost(self, word: str) -> int:
        """Tokens a word adds after another one; remembered."""
        cost = self._costs.get(word)
        if cost is None:
            cost = self._costs[word] = self.count(f"the {word}") - self.count("the")
        return cost

    def fit(self, words: list[str], length: int, fillers: Sequence[str]) -> tuple[str, int]:
        """Cut or lengthen a list of words to exactly `length` tokens: (text, its count).

        Where the tokenizer's merges forbid the exact length, the nearest found is returned; its count tells.
        """
        total = self.cost(words[0]) if words else 0
        kept = 1
        while kept < len(words) and total < length:
            total += self.cost(words[kept])
            kept += 1
        words = words[:kept]
        best: tuple[int, str, int] | None = None
        for attempt in range(12):
            text = " ".join(words)
            count = self.count(text)
            miss = length - count
            if best is None or abs(miss) < best[0]:
                best = (abs(miss), text, count)
            if miss == 0:
                break
            if miss < 0 and len(words) == 1:
                other = next((word for word in fillers if self.count(word) == length), None)
                if other is None:
                    break
                words = [other]
            elif miss < 0:
                dropped = 0
                while len(words) > 1 and dropped < -miss:
                    dropped += max(1, self.cost(words.pop()))
            else:
                added = 0
                while added < miss:
                    word = self._filler(miss - added, fillers, attempt + len(words))
                    words.append(word)
                    added += max(1, self.cost(word))
        assert best is not None
        return best[1], best[2]

    def _filler(self, room: int, fillers: Sequence[str], start: int) -> str:
        """A word that costs at most `room` tokens: the first such from `start` on."""
        for k in range(len(fillers)):
            word = fillers[(start + k) % len(fillers)]
            if 0 < self.cost(word) <= room:
                return word
        return "a"


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

    return Tokenizer(name, encode, local=True)


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
    return Tokenizer(name, lambda text: slow.encode(text, add_special_tokens=False), local=True)


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
    return Tokenizer(name, lambda text: encoding.encode(text, disallowed_special=()), local=True), ""


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
