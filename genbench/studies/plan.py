"""Plans in files: made from the options of a run, and sent as they are.

Written against a server (`--url`: it is asked what it takes, nothing more is sent) or without one (`--model`).
"""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from genbench import config, registry, sources
from genbench.engine.preflight import explain, preflight
from genbench.errors import ConfigError, GenbenchError
from genbench.options import Load, RunConfig, Workload
from genbench.plan import file
from genbench.plan.build import build
from genbench.plan.facts import Facts
from genbench.resolve import resolve
from genbench.studies.prepare import Waiting, place
from genbench.studies.scrub import Scrubber
from genbench.tokens import Tokenizer
from genbench.tokens import load as load_tokenizer
from genbench.types import Endpoint

Say = Callable[[str], None]
KEPT = ("grace_s", "plan")  # what may be said beside --plan


def write_plan(given: config.Given, out: Path, say: Say) -> dict[str, Any]:
    """Make the plan of these options and write it; returns its header.

    Raises ConfigError, DatasetError or TargetError.
    """
    if out.exists():
        raise ConfigError(f"--out {out} is there already; choose another name")
    if not given.config.target.url and given.config.target.model is None:
        raise ConfigError("a plan names the model in every body; give --model, or --url to ask a server for it")
    if given.config.workload.plan is not None:
        raise ConfigError("--plan is for genbench profile; leave it out to write another plan")
    resolved, _ = resolve(given)
    scrub = Scrubber(resolved.target)
    try:
        return _written(given, resolved, out, say)
    except GenbenchError as error:
        raise type(error)(scrub(str(explain(error, "url" in given.named)))) from error


def _written(given: config.Given, resolved: RunConfig, out: Path, say: Say) -> dict[str, Any]:
    endpoint = registry.load("endpoints", resolved.target.endpoint_type)
    tokenizer, facts, notes = _asked(given, resolved, endpoint, say)
    made = build(resolved, facts, endpoint, tokenizer, say)
    about = {
        "model": facts.model,
        "endpoint_type": resolved.target.endpoint_type,
        "stream": resolved.target.stream,
        "ignore_eos": facts.ignore_eos,
        "config": {name: part for name, part in config.public(resolved).items() if name in ("workload", "load")},
        "tokenizer": None if tokenizer is None else tokenizer.name,
    }
    if resolved.target.extra != tuple(config.public_extra(resolved.target.extra)):
        notes = (*notes, "--extra holds what looks like a secret: it is in the plan's bodies as it is")
    for note in notes:
        say(f"note: {note}")
    try:
        return file.write(made, out, about)
    except OSError as error:
        raise ConfigError(f"--out {out}: {(error.strerror or str(error)).lower()}; choose another place") from error


def _asked(
    given: config.Given, resolved: RunConfig, endpoint: Endpoint, say: Say
) -> tuple[Tokenizer | None, Facts, tuple[str, ...]]:
    """What bodies depend on: from a server, or as far as the options say it."""
    target, named = resolved.target, given.config.target.url
    if named:
        path = "/" + (target.endpoint or endpoint.PATH).lstrip("/")
        asked = place(named[0], endpoint, path, target, Waiting(None, patient="wait_ready_s" in given.named, say=say))
        tokenizer, missing = _tokenizer(resolved, lambda p, body: asked.prober.post(p, body))
        count = tokenizer.count if tokenizer is not None and tokenizer.local else None
        found = preflight(resolved, asked.prober, path, endpoint, count)
        return tokenizer, found.facts, tuple(note for note in (missing, *found.notes) if note)
    if target.tokenizer == "server":
        raise ConfigError("--tokenizer server needs a server to ask; give --url, or a tokenizer on this machine")
    tokenizer, missing = _tokenizer(resolved, _nobody)
    forced = resolved.workload.ignore_eos is not False and target.endpoint_type != "embeddings"
    notes = [missing]
    if tokenizer is None and sources.synthetic_text(resolved.workload.dataset):
        notes.append("without --tokenizer or --url prompts have as many words as tokens were asked for")
    if forced:
        notes.append("the bodies ask for ignore_eos and min_tokens; --no-ignore-eos for a server that refuses them")
    return tokenizer, Facts(str(target.model), ignore_eos=forced), tuple(note for note in notes if note)


def _tokenizer(resolved: RunConfig, post: Any) -> tuple[Tokenizer | None, str]:
    name = resolved.target.tokenizer
    return (None, "") if name is None else load_tokenizer(name, download=resolved.target.download, post=post)


def _nobody(path: str, body: dict[str, Any]) -> dict[str, Any]:
    raise OSError("no server was named")


def planned(given: config.Given) -> config.Given:
    """The options of a run of `--plan FILE`: workload, load, endpoint and model are the file's.

    Raises ConfigError for an option that the file has already decided, DatasetError for a file that is no plan.
    """
    path = given.config.workload.plan
    if path is None:
        return given
    head = file.read_head(Path(path))
    settled = {one.name for owner in (Workload, Load) for one in fields(owner)} - set(KEPT)
    settled |= {"endpoint_type", "stream", "extra", "seed"}
    for name in sorted(given.named & settled):
        flag = next(field.flag for field in config.options() if field.name == name)
        raise ConfigError(f"{flag} is part of the plan in {path}; leave it out, or make another plan")
    target = given.config.target
    workload = replace(Workload(**_section(Workload, head["config"]["workload"])), plan=path)
    load = replace(Load(**_section(Load, head["config"]["load"])), grace_s=given.config.load.grace_s)
    if not target.url:
        target = replace(target, url=("http://localhost:8000",))
    changed = replace(
        given.config,
        target=replace(
            target,
            model=target.model or head["model"],
            endpoint_type=head["endpoint_type"],
            stream=head["stream"],
        ),
        workload=workload,
        load=load,
        seed=head["seed"],
    )
    return config.Given(changed, given.named)


def _section(owner: type, found: dict[str, Any]) -> dict[str, Any]:
    """A section of the header as the fields of today's dataclass; what it does not know any more is left out."""
    known = {one.name for one in fields(owner)}
    return {name: float(value) if value == "inf" else value for name, value in found.items() if name in known}
