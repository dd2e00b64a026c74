"""What `--dataset NAME[:PATH]` and `--columns` mean."""

import re
from pathlib import Path

from genbench import registry
from genbench.errors import ConfigError

ROLES = ("prompt", "output", "system", "osl", "messages", "text")
_OWN = re.compile(r"(?P<name>.+?\.py(?::[A-Za-z_]\w*)?)(?::(?P<path>.+))?")
_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")


def dataset_of(text: str | None) -> tuple[str, str | None]:
    """(name for the registry, path or None) of a `--dataset`; None means synthetic prompts.

    A file of one's own is `mine.py:PATH` or `mine.py:function:PATH`. `org/name` alone means a Hugging Face data set.
    Raises ConfigError for a name that is not known, with those there are.
    """
    if text is None:
        return "synthetic", None
    name, _, path = text.partition(":")
    known = [one.replace("_", "-") for one in registry.names("datasets")]
    if name.replace("_", "-") in known:
        return name.replace("-", "_"), path or None
    if Path(text).is_file() and not text.endswith(".py"):
        raise ConfigError(f"--dataset {text} is a file: say what is in it, like sharegpt:{text} or jsonl:{text}")
    own = _OWN.fullmatch(text)
    if own is not None:
        return own["name"], own["path"]
    if _HUB.fullmatch(text) and "." not in text.partition("/")[0]:
        return "hf", text
    raise ConfigError(f"--dataset {text}: no data set '{name}'; use one of {', '.join(known)}, or a .py file")


def columns_of(text: str | None) -> dict[str, str]:
    """The mapping of 'prompt=question,output=answer'. Raises ConfigError for a role that is not known."""
    found: dict[str, str] = {}
    for item in text.split(",") if text else ():
        role, equals, column = (part.strip() for part in item.partition("="))
        if role not in ROLES or not equals or not column:
            raise ConfigError(f"--columns {text}: write ROLE=COLUMN with a ROLE of {', '.join(ROLES)}")
        found[role] = column
    return found


CONVERSING = ("synthetic", "random", "jsonl", "sharegpt", "hf")  # and one's own
DRAWN = ("synthetic", "random")  # their lengths are those of --isl and --osl


def synthetic_text(dataset: str | None) -> bool:
    """Whether its prompts are words without meaning, which are to be of an exact length."""
    return bool(getattr(registry.load("datasets", dataset_of(dataset)[0]), "SYNTHETIC_TEXT", False))


def may_converse(dataset: str | None, turns: str | None) -> bool:
    """Whether conversations of several turns can come of it."""
    name = dataset_of(dataset)[0]
    return turns not in (None, "1") or (turns is None and (name in ("jsonl", "hf") or not name.isidentifier()))
