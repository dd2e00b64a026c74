"""run.json: what a run was, so that its records can be read years later without the server."""

import os
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from genbench import __version__, config
from genbench.plan.file import offsets_sha256
from genbench.studies.prepare import Prepared

PACKAGES = ("httptools", "numpy", "orjson", "scipy", "tokenizers", "uvloop")


def header(prepared: Prepared, command: list[str]) -> dict[str, Any]:
    """The header as it stands before the first request; the end adds what was measured of the client itself."""
    facts, plan = prepared.found.facts, prepared.plan
    return {
        "genbench": __version__,
        "config": config.public(prepared.config),
        "named": sorted(prepared.named),
        "command": " ".join(config.quoted(command)),
        "endpoint_type": prepared.config.target.endpoint_type,
        "model": facts.model,
        "simulated": prepared.simulated,
        "interrupted": True,  # until the end says otherwise: a killed run must not look whole
        "seed": plan.seed,
        "salt": plan.salt,
        "dataset_sha256": plan.dataset_sha256,
        "offsets_sha256": offsets_sha256(plan.schedule),
        "clock": {"zero_unix_ns": time.time_ns() - time.perf_counter_ns(), "unit": "ns", "name": "CLOCK_MONOTONIC"},
        "preflight": {
            "models": list(prepared.found.models),
            "version": prepared.found.version,
            "template_tokens": prepared.found.template_tokens,
            "tokens_per_word": facts.tokens_per_word,
            "max_tokens_field": facts.max_tokens_field,
            "ignore_eos": facts.ignore_eos,
            "latency_s": facts.latency_s,
            "time_to_ready_s": prepared.found.time_to_ready_s,
            "addresses": [_address(one.sockaddr) for one in prepared.addresses],
        },
        "tokenizer": prepared.tokenizer.name if prepared.tokenizer is not None else None,
        "notes": list(prepared.notes),
        **about(config.public(prepared.config)["about"]),
        "environment": {
            "host": platform.node(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
        },
    }


def about(said: Mapping[str, Any]) -> dict[str, Any]:
    """The user's own words on the run, where there are some: `hardware` and `metadata`, each a mapping."""
    hardware = {name: value for name, value in said.items() if name != "metadata" and value is not None}
    notes = {key.strip(): value.strip() for key, _, value in (item.partition("=") for item in said["metadata"])}
    return ({"hardware": hardware} if hardware else {}) | ({"metadata": notes} if notes else {})


def _address(sockaddr: Any) -> str:
    return sockaddr if isinstance(sockaddr, str) else f"{sockaddr[0]} port {sockaddr[1]}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
