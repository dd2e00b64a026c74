"""What the modelled engine costs and holds: the numbers of the scheduler brain, and the presets of profiles/engines/.

A preset is a YAML file of `option: value` lines, named like the flags of `genbench simulate`; its first comment line
says what it stands for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from genbench import config
from genbench.errors import ConfigError
from genbench.options import seconds
from genbench.simulator.options import MAX_MODEL_LEN, SimulatorOptions, check_value, flag

DEFAULT = "small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The model's parameters; docs/simulator.md has the formulas.

    A step takes step_base + step_per_sequence x (decoding sequences) + step_per_kv_token x (their tokens) +
    (prompt tokens) / prefill_tps seconds, moved by up to `step_noise` of itself. Raises ConfigError for numbers with
    which some request would wait for ever.
    """

    prefill_tps: float
    step_base_s: float
    step_per_sequence_s: float
    step_per_kv_token_s: float
    max_batch: int
    kv_tokens: int
    max_step_tokens: int
    max_model_len: int
    chunked_prefill: bool = True
    prefix_cache: bool = False
    step_noise: float = 0.0

    def __post_init__(self) -> None:
        if self.max_step_tokens < self.max_batch:
            raise ConfigError(
                f"--max-step-tokens {self.max_step_tokens} is less than --max-batch {self.max_batch}, and every "
                "sequence of a batch takes one token of a step; give a larger one"
            )
        for name, limit in (("kv_tokens", self.kv_tokens), *self._whole_prompts()):
            if self.max_model_len > limit:
                raise ConfigError(
                    f"--max-model-len {self.max_model_len} is more than {flag(name)} {limit}, so a request of that "
                    f"length would never run; give a smaller one or more {flag(name)}"
                )

    def _whole_prompts(self) -> tuple[tuple[str, int], ...]:
        return () if self.chunked_prefill else (("max_step_tokens", self.max_step_tokens),)

    def fits(self, isl: int, osl: int) -> bool:
        """Whether a request of these lengths is taken at all."""
        return isl >= 1 and osl >= 1 and isl + osl <= self.max_model_len


NAMES = tuple(field.name for field in fields(Costs))


def names() -> list[str]:
    """The presets that come with genbench."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def first_line(name: str) -> str:
    """What a shipped preset stands for."""
    return str(_folder().joinpath(f"{name}.yaml").read_text()).splitlines()[0].lstrip("# ")


def preset(name: str, given: Mapping[str, Any] | None = None) -> Costs:
    """The costs of a shipped preset or a YAML file, with the `given` fields in their place.

    A `max_model_len` that was not given is cut to what the other numbers allow. Raises ConfigError.
    """
    values = _read(name) | dict(given or {})
    missing = [flag(field) for field in NAMES if field not in values and field not in ("max_model_len", *_OPTIONAL)]
    if missing:
        raise ConfigError(f"--preset {name} lacks {', '.join(missing)}; add them to the file or give the options")
    if "max_model_len" not in (given or {}):
        limits = [values["kv_tokens"]]
        if not values.get("chunked_prefill", True):
            limits.append(values["max_step_tokens"])
        values["max_model_len"] = min(values.get("max_model_len", MAX_MODEL_LEN), *limits)
    return Costs(**values)


_OPTIONAL = ("chunked_prefill", "prefix_cache", "step_noise")
_SCRIPTS = ("ttft_s", "itl_s", "jitter")


def resolve(options: SimulatorOptions) -> tuple[SimulatorOptions, Costs | None]:
    """The costs of the scheduler brain, None for the script; and the options with their `max_model_len`.

    Without `brain` it is the scheduler where a preset or one of its numbers is given, else the script. Raises
    ConfigError for options of both.
    """
    given = {name: getattr(options, name) for name in NAMES if getattr(options, name) is not None}
    numbers = [name for name in given if name != "max_model_len"]
    named = [flag(name) for name in numbers] if options.preset is None else ["--preset"]
    scripts = [
        flag(name) for name in _SCRIPTS if getattr(options, name) != SimulatorOptions.__dataclass_fields__[name].default
    ]
    scheduler = bool(named) if options.brain is None else options.brain == "scheduler"
    if not scheduler:
        if named:
            raise ConfigError(f"{named[0]} is the scheduler's, but --brain is script; leave one of them out")
        return replace(options, max_model_len=options.max_model_len or MAX_MODEL_LEN), None
    if scripts:
        because = named[0] if named else "--brain scheduler"
        raise ConfigError(
            f"{scripts[0]} is the script brain's, but {because} asks for the scheduler; leave one of them out"
        )
    costs = preset(options.preset or DEFAULT, given)
    return replace(options, max_model_len=costs.max_model_len), costs


def _folder() -> Any:
    return config._profiles().joinpath("engines")


def _read(name: str) -> dict[str, Any]:
    import yaml

    path = Path(name)
    if name in names():
        text = str(_folder().joinpath(f"{name}.yaml").read_text())
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        text = path.read_text()
    else:
        raise ConfigError(f"--preset {name}: no such preset or file; use one of {', '.join(names())} or a YAML file")
    try:
        lines = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--preset {name} is not YAML ({str(error).splitlines()[0]}); correct it") from error
    if not isinstance(lines, dict):
        raise ConfigError(f"--preset {name}: must be 'option: value' lines")
    by_key = {flag(field)[2:]: field for field in NAMES}
    kinds = get_type_hints(Costs)
    values = {}
    for key, value in lines.items():
        field = by_key.get(str(key))
        if field is None:
            raise ConfigError(f"--preset {name}: unknown option '{key}'; use {', '.join(by_key)}")
        values[field] = _convert(name, field, value, kinds[field])
    return values


def _convert(name: str, field: str, value: object, kind: type) -> Any:
    """One value of a preset, checked like the flag of that name."""
    if kind is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"--preset {name}: {flag(field)[2:]} is '{value}'; use true or false")
        return value
    try:
        found = seconds(str(value)) if field.endswith("_s") else kind(str(value))
    except ValueError as error:
        what = "a time like 8ms" if field.endswith("_s") else "a whole number" if kind is int else "a number"
        raise ConfigError(f"--preset {name}: {flag(field)[2:]} is '{value}'; use {what}") from error
    try:
        check_value(field, found)
    except ConfigError as error:
        raise ConfigError(f"--preset {name}: {error}") from error
    return found
