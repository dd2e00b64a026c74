"""A profile and the command line become a checked RunConfig; holds no defaults of its own.

`load` reads what was given; `genbench.resolve` fills in what depends on the rest. To a user every option has one flat
name, the same on the command line and in a profile.
"""

import math
import re
import shlex
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from genbench.errors import ConfigError
from genbench.options import Opt, RunConfig, seconds

STREAMED = ("chat", "completions")
SECRET_NAME = r"[^=&:]*(?:key|token|secret|signature|password|passwd|pwd|credentials?|auth)|sig|code"
SECRET_QUERY = re.compile(rf"(?i)([?&](?:{SECRET_NAME})=)[^&]*")
SECRET_EXTRA = re.compile(rf"(?i)((?:{SECRET_NAME})\s*[=:])(?!\s*[\d.]+\s*$).*", re.DOTALL)  # but max_tokens=5 is none
OTHERS_NAMES = {
    "--num-prompts": "--num-prompts is the number of requests in one tool and of different prompts in another; "
    "use --request-count for requests",
    "--backend": "--backend openai-chat is --endpoint-type chat here, --backend openai is --endpoint-type completions",
    "--host": "--host and --port are one option here: --url http://HOST:PORT",
    "--port": "--host and --port are one option here: --url http://HOST:PORT",
    "--dataset-name": "--dataset-name and --dataset-path are one here: --dataset sharegpt:FILE, or --dataset random",
    "--dataset-path": "--dataset-name and --dataset-path are one here: --dataset sharegpt:FILE, or --dataset random",
    "--conversation-turn-delay-mean": "--conversation-turn-delay-mean 500 (ms) is --think-time 500ms here",
    "--fixed-schedule": "--fixed-schedule is --arrival trace here, with a data set that has times",
    "--public-dataset": "--public-dataset is not there: give --dataset sharegpt:FILE, or hf:NAME from the local cache",
    "--random-range-ratio": "--random-range-ratio is a range here: --isl 400-600",
    "--conversation-num": "--conversation-num is not there: --request-count counts every turn",
    "--sharegpt-output-len": "--sharegpt-output-len is --osl here",
    "--ramp-up-strategy": "--ramp-up-strategy is a ramp of the rate here: --ramp 1:50:60s",
    "--percentile-metrics": "--percentile-metrics is not needed: every metric is shown with its percentiles",
    "--save-result": "--save-result is not needed: every run is saved, see --artifact-dir",
    "--measurement-interval": "--measurement-interval is --duration here, in seconds: 10000 (ms) is --duration 10s",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One option: where it lives and what it accepts."""

    section: str  # "" for fields of RunConfig itself
    name: str
    opt: Opt
    kind: type  # bool, int, float, str
    optional: bool
    multiple: bool
    default: Any

    @property
    def key(self) -> str:
        """Name in a profile: the flag without dashes in front."""
        return self.flag[2:]

    @property
    def flag(self) -> str:
        """The long flag."""
        return self.opt.flag or "--" + self.name.removesuffix("_s").replace("_", "-")


@dataclass(frozen=True, slots=True)
class Given:
    """A config and which options were named by the user (field names)."""

    config: RunConfig
    named: frozenset[str]


@cache
def options() -> tuple[Field, ...]:
    """Every option of a run, in help order."""
    return tuple(_fields(RunConfig, ""))


def _fields(owner: type, section: str) -> Iterator[Field]:
    hints = typing.get_type_hints(owner, include_extras=True)
    for field in fields(owner):
        hint = hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _fields(hint, field.name)
            continue
        plain, opt = typing.get_args(hint)
        multiple = typing.get_origin(plain) is tuple
        arguments = typing.get_args(plain)
        optional = isinstance(plain, types.UnionType) and type(None) in arguments
        kind = arguments[0] if optional or multiple else plain
        yield Field(section, field.name, opt, kind, optional, multiple, field.default)


def load(named: Mapping[str, Any], profiles: Sequence[str] = ()) -> Given:
    """Merge profiles (names or files) with what the command line named; later ones win, and the command line over all.

    `named` maps field names to text (or bools, or tuples of text). Raises ConfigError naming the option and the fix.
    """
    by_key = {field.key: field for field in options()}
    by_name = {field.name: field for field in options()}
    values: dict[str, Any] = {}
    for profile in profiles:
        for key, value in _read_profile(profile).items():
            field = by_key.get(str(key).replace("_", "-"))
            if field is None:
                raise ConfigError(f"--config {profile}: unknown option '{key}'; see genbench profile --help-all")
            values[field.name] = convert(field, value)
    for name, value in named.items():
        values[name] = convert(by_name[name], value)
    return Given(_with(RunConfig(), values), frozenset(values))


def changed(given: Given, values: Mapping[str, Any]) -> Given:
    """The same options with some others in their place, by field name, as if the user had named them."""
    return Given(_with(given.config, values), given.named | set(values))


def _with(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """A config with other values, by field name; their types are right already."""
    sections: dict[str, dict[str, Any]] = {}
    for field in options():
        if field.name in values:
            sections.setdefault(field.section, {})[field.name] = values[field.name]
    return replace(
        config,
        **{section: replace(getattr(config, section), **found) for section, found in sections.items() if section},
        **sections.get("", {}),
    )


def convert(field: Field, value: Any) -> Any:
    """One value as its field's type, checked against its bounds. Raises ConfigError."""
    if field.multiple:
        if isinstance(value, Mapping) and field.name == "metadata":  # in a profile it may be a block
            value = [f"{key}={one}" for key, one in value.items()]
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(str(convert_one(field, item)) for item in items)
    return convert_one(field, value)


def convert_one(field: Field, value: Any) -> Any:
    """As `convert`, for an option that is given once."""
    if field.optional and (value is None or value == "none") and field.name != "salt":
        return None
    if field.kind is bool:
        if isinstance(value, bool):
            return value
        raise ConfigError(f"{field.flag} {value}: only true or false; leave it out or correct it")
    if field.kind is str:
        if field.opt.choices and str(value) not in field.opt.choices:
            raise ConfigError(f"{field.flag} {value}: must be {' or '.join(field.opt.choices)}")
        return _text(field, str(value))
    number = _seconds(field, value) if field.opt.unit == "s" else _number(field, value)
    low, above, high = field.opt.at_least, field.opt.above, field.opt.at_most
    if (low is not None and number < low) or (above is not None and number <= above) or math.isnan(number):
        bound = f"at least {low:g}" if low is not None else f"above {above:g}"
        raise ConfigError(f"{field.flag} {value}: must be {bound}{' ' + field.opt.unit if field.opt.unit else ''}")
    if high is not None and number > high:
        raise ConfigError(f"{field.flag} {value}: must be at most {high:g}")
    if math.isinf(number) and field.name != "request_rate":
        raise ConfigError(f"{field.flag} {value}: must be finite; give a number")
    return number


def _text(field: Field, value: str) -> str:
    """Text that can be sent; the shell hands over bytes that are none in a way of Python's own."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{field.flag}: {value.encode(errors='replace').decode()} is not UTF-8 text") from error
    return value


def _number(field: Field, value: Any) -> float:
    if isinstance(value, str) and field.name in ("concurrency", "request_rate") and "," in value:
        raise ConfigError(
            f"{field.flag} {value} is a sweep, and this takes one value; use genbench sweep {field.flag} {value}"
        )
    try:
        return field.kind(value)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        what = "a whole number" if field.kind is int else "a number"
        none = " or none" if field.optional and field.name == "osl" else ""
        raise ConfigError(f"{field.flag} {value}: must be {what}{none}") from error


def _seconds(field: Field, value: Any) -> float:
    try:
        return seconds(str(value))
    except ValueError as error:
        raise ConfigError(f"{field.flag} {value}: must be a time like 30, 500ms or 2m") from error


def profile_names() -> list[str]:
    """The profiles that come with genbench; hardware.yaml beside them holds no options."""
    names = (path.name for path in _profiles().iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name != "hardware.yaml")


def profile_text(name: str) -> str:
    """The text of a shipped profile."""
    return str(_profiles().joinpath(f"{name}.yaml").read_text())


def _profiles() -> Any:
    shipped = resources.files("genbench").joinpath("profiles")
    return shipped if shipped.is_dir() else Path(__file__).parent.parent / "profiles"


def _read_profile(name: str) -> dict[str, Any]:
    import yaml

    path = Path(name)
    if name in profile_names():
        text = profile_text(name)
    elif path.is_file():
        text = path.read_text()
    else:
        raise ConfigError(
            f"--config {name}: no such profile or file; use one of {', '.join(profile_names())} or a YAML file"
        )
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--config {name} is not YAML ({str(error).splitlines()[0]}); correct it") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"--config {name}: must be 'option: value' lines")
    return found


def public_url(url: str) -> str:
    """A URL without what may be a secret: user and password, and query values whose name sounds like one."""
    url = re.sub(r"(?<=//)[^?#]*@", "***@", url)
    return re.sub(SECRET_QUERY, r"\1***", url)


def public_store(url: str) -> str:
    """A place to upload to without user and password, and without its query, which may hold keys of any name."""
    head, sep, rest = url.partition("://") if "://" in url else ("", "", url)
    if "@" in rest and re.search("[@:]", rest.partition("/")[0]):
        rest = "***@" + rest.rpartition("@")[2]
    place, question, _ = rest.partition("?")
    return f"{head}{sep}{place}?***" if question else f"{head}{sep}{place}"


def public_extra(items: Sequence[str]) -> list[str]:
    """Extra body fields without the values of those whose name sounds like a secret."""
    found = []
    for item in items:
        if item.lstrip().startswith("{"):
            found.append(re.sub(rf'(?i)("(?:{SECRET_NAME})"\s*:\s*)"[^"]*"', r'\1"***"', item))
        else:
            found.append(SECRET_EXTRA.sub(r"\1***", item) if SECRET_EXTRA.match(item) else item)
    return found


def public_urls(urls: Sequence[str]) -> list[str]:
    """`public_url` of each."""
    return [public_url(url) for url in urls]


def public_metadata(items: Sequence[str]) -> list[str]:
    """Notes of the user's own, without values whose name sounds like a secret, without passwords in addresses."""
    return [public_url(item) for item in public_extra(items)]


PUBLIC: Mapping[str, Any] = {
    "url": public_urls, "endpoint": public_url, "extra": public_extra, "metadata": public_metadata,
    "server_metrics": public_urls, "gpu_telemetry": public_urls, "prometheus": public_urls,
    "upload": public_store,
}  # fmt: skip


def public(config: RunConfig) -> dict[str, Any]:
    """The config as JSON-able sections, secrets replaced, for run.json."""
    found: dict[str, Any] = {}
    for field in options():
        section = getattr(config, field.section) if field.section else config
        value = getattr(section, field.name)
        if field.opt.secret and value:
            value = [f"{item.partition(':')[0]}: ***" for item in value] if field.multiple else "***"
        elif field.name in PUBLIC and value:
            value = PUBLIC[field.name](value)
        elif isinstance(value, float) and math.isinf(value):
            value = "inf"
        elif isinstance(value, tuple):
            value = list(value)
        (found.setdefault(field.section, {}) if field.section else found)[field.name] = value
    return found


def command_line(named: Mapping[str, Any], profiles: Sequence[str]) -> list[str]:
    """The arguments that repeat a run, secrets left out: the profiles and the options that were named.

    Not the folder's name: it is taken then.
    """
    words = ["genbench", "profile", *(word for profile in profiles for word in ("--config", profile))]
    for field in options():
        if field.name not in named or field.name == "name":
            continue
        value = named[field.name]
        if field.opt.secret:
            for item in value if field.multiple else [value]:
                words += [field.flag, f"{str(item).partition(':')[0]}: ***" if field.multiple else "$OPENAI_API_KEY"]
        elif field.kind is bool:
            words.append(field.flag if value else field.opt.negative or f"--no-{field.key}")
        elif field.multiple:
            for item in PUBLIC[field.name](value) if field.name in PUBLIC else value:
                words += [field.flag, str(item)]
        else:
            words += [field.flag, PUBLIC[field.name](value) if field.name in PUBLIC else str(value)]
    return words


def quoted(words: list[str]) -> list[str]:
    """Words as a shell takes them; a variable stays one."""
    return [word if word.startswith("$") else shlex.quote(word) for word in words]
