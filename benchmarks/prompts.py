"""Prompts per minute on one core, exact under a tokenizer: `python benchmarks/prompts.py [--peer-python PYTHON]`.

genbench's figure is the whole way of its plan: lengths and words drawn, salt in front, fitted, body built, dumped and
hashed, with a tokenizer just loaded. A peer's is its own generator alone, with the same tokenizer.json, in a process of
the Python given: vLLM's random data set, or AIPerf's synthetic prompts. Tokenizers are byte-level BPE, trained here on
Python's own library. genbench's own random data set, without salt, stands beside for vLLM's: most of its time goes into
encoding, once for every attempt and once for the plan's count. All of it runs on one core; afterwards every prompt is
encoded once more, by itself, and those off the length are counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Fast
from tokenizers import decoders, models, pre_tokenizers, trainers

from genbench import config, registry
from genbench.plan.build import build
from genbench.plan.facts import Facts
from genbench.resolve import resolve
from genbench.tokens import Tokenizer, load

TARGET = 60_000  # prompts of 550 tokens per minute
VOCABULARIES = (4096, 32768)
PEER = """
import json, os, sys, time
folder, count, isl = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
try:
    from vllm.benchmarks.datasets import RandomDataset
    from transformers import AutoTokenizer
    name = "vLLM, random data set"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    def made():
        source = RandomDataset(random_seed=0)
        return [one.prompt for one in source.sample(tokenizer, num_requests=count, input_len=isl, output_len=128)]
except ImportError:
    from aiperf.common import random_generator
    from aiperf.common.tokenizer import Tokenizer
    from aiperf.dataset.generator.prompt import PromptGenerator
    name = "AIPerf, synthetic prompts"
    random_generator.init(0)
    tokenizer = Tokenizer.from_pretrained(folder, resolve_alias=False)
    generator = PromptGenerator(prompts=None, prefix_prompts=None, tokenizer=tokenizer)
    def made():
        return [generator.generate_prompt(isl) for _ in range(count)]
began = time.perf_counter()
prompts = made()
took = time.perf_counter() - began
print(json.dumps({"name": name, "per_minute": 60 * len(prompts) / took, "prompts": prompts}))
"""


def planned(folder: Path, count: int, isl: int, **more: str) -> dict[str, Any]:
    """The plan of so many chat requests, taken out one by one, as a peer would tell of it."""
    tokenizer = loaded(folder)
    named = {"url": "http://127.0.0.1:1", "tokenizer": str(folder), "isl": str(isl), "request_count": str(count)}
    found, _ = resolve(config.load(named | {"warmup": "0"} | more))
    began = time.perf_counter()
    plan = build(found, Facts(model="m"), registry.load("endpoints", "chat"), tokenizer)
    prompts = [plan.requests[index].sample.prompt for index in range(count)]
    took = time.perf_counter() - began
    name = f"genbench, {found.workload.dataset or 'synthetic'}"
    return {"name": name, "per_minute": 60 * count / took, "prompts": prompts}


def loaded(folder: Path) -> Tokenizer:
    """The tokenizer of a folder."""
    tokenizer, why = load(str(folder), download=False, post=lambda path, body: {})
    assert tokenizer is not None, why
    return tokenizer


def sources() -> Iterator[list[str]]:
    """Text that is on every machine: the lines of the standard library's modules."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield path.read_text(encoding="utf-8", errors="replace").splitlines()


def make_tokenizer(folder: Path, vocabulary: int) -> None:
    """Train a byte-level BPE and save it as the hub does."""
    tokenizer = Fast(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sources(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "model_max_length": 1 << 20}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def ask_peer(python: str, folder: Path, count: int, isl: int) -> dict[str, Any]:
    """What a peer makes; with `error` where it cannot."""
    command = [python, "-c", PEER, str(folder), str(count), str(isl)]
    try:
        # Not this folder: its modules would stand in for the peer's own of the same name.
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measured(vocabulary: int, count: int, isl: int, rounds: int, peers: list[str]) -> dict[str, Any]:
    """One vocabulary: the median of interleaved rounds, genbench's and every peer's; prints a line for each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tokenizer(folder, vocabulary)
        tokenizer = loaded(folder)
        found: dict[str, dict[str, Any]] = {}
        for _ in range(rounds):
            fewer = max(1, count // 10)
            made = [planned(folder, count, isl), planned(folder, fewer, isl, dataset="random", salt="none")]
            for one in (*made, *(ask_peer(python, folder, fewer, isl) for python in peers)):
                if "error" in one:
                    print(f"  a peer is left out: {one['error']}")
                    continue
                off = sum(tokenizer.count(prompt) != isl for prompt in one.pop("prompts"))
                row = found.setdefault(one["name"], {"rounds": [], "off": 0})
                row["rounds"].append(one["per_minute"])
                row["off"] = max(row["off"], off)
    for row in found.values():
        row["per_minute"] = statistics.median(row["rounds"])
    own = [found[f"genbench, {name}"]["per_minute"] for name in ("synthetic", "random")]
    print(f"{'MISS ' * (own[0] < TARGET)}vocabulary of {vocabulary:,}")
    for name, one in found.items():
        ratios = [f"{each / one['per_minute']:.1f}x" for each in own]
        ratio = "" if name.startswith("genbench") else f"; genbench {ratios[0]}, random {ratios[1]}"
        print(f"  {name:26} {one['per_minute']:10,.0f} a minute, {one['off']} off the length{ratio}")
    return found


def main() -> None:
    """Measure both vocabularies and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", action="append", default=[], help="Python that has vllm or aiperf; repeatable")
    parser.add_argument("--prompts", type=int, default=20_000, help="a tenth as many of random tokens and from peers")
    parser.add_argument("--isl", type=int, default=550)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="keep all figures")
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        core = min(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {core})  # children have it from here
        print(
            f"core {core}, Python {sys.version.split()[0]}, prompts of {given.isl} tokens; target {TARGET:,} a minute"
        )
    if not given.peer_python:
        print("no peers: name a Python that has vllm or aiperf with --peer-python")
    found = {
        str(size): measured(size, given.prompts, given.isl, given.rounds, given.peer_python) for size in VOCABULARIES
    }
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
