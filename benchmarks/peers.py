"""The clients that are measured: how each is called for a scenario, and what it says of its requests afterwards.

A client's own words stand: its TTFT is what it reports as such (some start the clock before they connect). Where it
says how to find a request in the server's log, every request is compared with what the server wrote down.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from arena import Scenario

from genbench.records import open_table
from genbench.studies.truth import Seen, seen

CLIENTS = Path(__file__).resolve().parent / "clients"
PROMPT_TOKENS = 32


@dataclass(frozen=True)
class Found:
    """What a client left: its requests, and facts to be shown beside them."""

    requests: list[Seen]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Client:
    """`command(scenario, folder)` writes into the folder, `read(folder)` finds it there."""

    name: str
    program: str | None  # looked up on PATH; None: comes with this Python
    command: Callable[[Scenario, Path], list[str]]
    read: Callable[[Path], Found]
    env: Callable[[Scenario], dict[str, str]] = lambda _: {}

    def missing(self) -> str:
        """Why it cannot run here; empty when it can."""
        return "" if self.program is None or shutil.which(self.program) else f"{self.program} is not on PATH"


# -- genbench ---------------------------------------------------------------------------------------------------------


def _genbench(scenario: Scenario, folder: Path) -> list[str]:
    command = [sys.executable, "-m", "genbench", "profile", "-u", scenario.url, "-m", scenario.model]
    command += ["-c", str(scenario.streams), "-n", str(scenario.requests), "--warmup", "0", "--quiet"]
    command += ["--isl", str(PROMPT_TOKENS), "--osl", str(scenario.tokens)]
    command += ["--artifact-dir", str(folder), "--name", "run"]
    return command if scenario.ca is None else [*command, "--ca-cert", str(scenario.ca)]


def genbench_facts(folder: Path) -> dict[str, Any]:
    """What the run's own files say of the client, and its three moments on the monotonic clock.

    `logged_ns` is when the log's last line was written: by then everything is decoded.
    """
    header = json.loads((folder / "run.json").read_bytes())
    table = open_table(folder, header.get("endpoint_type", "chat"))
    content = table.content
    shared = table.event_shared[content.position]
    first = np.zeros(content.position.size, dtype=np.bool_)
    first[content.start[:-1][content.count > 0]] = True
    wanted = ("stamp_source", "reads_without_stamp", "reads_implausible_stamp", "clock_steps", "retries", "loop")
    return {name: header["health"].get(name) for name in wanted} | {
        "first_sent_ns": int(table.sent_ns.min()),
        "last_end_ns": int(table.end_ns.max()),
        "logged_ns": (folder / "requests.jsonl").stat().st_mtime_ns - header["clock"]["zero_unix_ns"],
        "content_events": int(content.position.size),
        "shared_first": int(shared[first].sum()),  # with the role event, which the engine writes just before
        "shared_later": int(shared[~first].sum()),
        "not_ok": int((~table.ok).sum()),
    }


def _read_genbench(folder: Path) -> Found:
    folder = folder / "run"
    return Found(seen(open_table(folder)), genbench_facts(folder))


# -- the two loops ----------------------------------------------------------------------------------------------------


def _loop(script: str, *more: str) -> Callable[[Scenario, Path], list[str]]:
    def command(scenario: Scenario, folder: Path) -> list[str]:
        words = [sys.executable, str(CLIENTS / script), "--url", scenario.url, "--model", scenario.model]
        words += ["--streams", str(scenario.streams), "--requests", str(scenario.requests)]
        words += ["--tokens", str(scenario.tokens), "--out", str(folder / "loop.json"), *more]
        return words if scenario.ca is None else [*words, "--ca", str(scenario.ca)]

    return command


def _read_loop(folder: Path) -> Found:
    rows = []
    for one in json.loads((folder / "loop.json").read_bytes())["requests"]:
        stamps = np.array(one["stamps"], dtype=np.int64)
        rows.append(Seen(one["id"], int(stamps[0]) - one["sent_ns"], np.diff(stamps)))
    return Found(rows)


# -- the tools --------------------------------------------------------------------------------------------------------


def _aiperf(scenario: Scenario, folder: Path) -> list[str]:
    command = ["aiperf", "profile", "-m", scenario.model, "--url", scenario.url, "--endpoint-type", "chat"]
    command += ["--streaming", "--concurrency", str(scenario.streams), "--request-count", str(scenario.requests)]
    command += ["--isl", str(PROMPT_TOKENS), "--osl", str(scenario.tokens), "--use-legacy-max-tokens"]
    command += ["--tokenizer", str(scenario.tokenizer), "--use-server-token-count", "--random-seed", "1"]
    command += ["--ui", "none", "--no-gpu-telemetry", "--no-server-metrics"]
    return [*command, "--output-artifact-dir", str(folder / "aiperf")]


def _aiperf_env(scenario: Scenario) -> dict[str, str]:
    return {} if scenario.ca is None else {"AIPERF_HTTP_SSL_VERIFY": "false"}


def _read_aiperf(folder: Path) -> Found:
    rows = []
    for line in (folder / "aiperf" / "profile_export.jsonl").read_text().splitlines():
        one = json.loads(line)
        metrics = one["metrics"]
        if "time_to_first_token" not in metrics:
            continue
        gaps = np.rint(np.array(metrics.get("inter_chunk_latency", {}).get("value", [])) * 1e6).astype(np.int64)
        ttft_ns = round(metrics["time_to_first_token"]["value"] * 1e6)
        rows.append(Seen(one["metadata"]["x_request_id"], ttft_ns, gaps))
    return Found(rows)


def _guidellm(scenario: Scenario, folder: Path) -> list[str]:
    verify = "" if scenario.ca is None else ",verify=false"
    return [
        *("guidellm", "run", "--backend", f"kind=openai_http,target={scenario.url},model={scenario.model}{verify}"),
        *("--profile", f"kind=concurrent,streams={scenario.streams}"),
        *("--constraint", f"kind=max_requests,count={scenario.requests}"),
        *("--tokenizer", f"kind=huggingface_auto,model={scenario.tokenizer}"),
        *("--data", f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={scenario.tokens}"),
        *("--output", f"kind=json,path={folder / 'guidellm.json'}", "--disable-console"),
    ]


def _read_guidellm(folder: Path) -> Found:
    report = json.loads((folder / "guidellm.json").read_bytes())
    rows = []
    for one in report["benchmarks"][0]["requests"]["successful"]:
        times = one["info"]["timings"]
        ttft_ns = round((times["first_token_iteration"] - times["request_start"]) * 1e9)
        # The answer's own id; the embedded engine builds it from the id in its log.
        rows.append(Seen(str(one["response_id"]).removeprefix("chatcmpl-"), ttft_ns))
    return Found(rows)


def _vllm(scenario: Scenario, folder: Path) -> list[str]:
    command = ["vllm", "bench", "serve", "--backend", "openai-chat", "--base-url", scenario.url]
    command += ["--endpoint", "/v1/chat/completions", "--model", scenario.model]
    command += ["--tokenizer", str(scenario.tokenizer), "--dataset-name", "random"]
    command += ["--random-input-len", str(PROMPT_TOKENS), "--random-output-len", str(scenario.tokens)]
    command += ["--num-prompts", str(scenario.requests), "--max-concurrency", str(scenario.streams)]
    command += ["--request-id-prefix", "bench-", "--save-result", "--save-detailed", "--disable-tqdm"]
    return [*command, "--result-dir", str(folder), "--result-filename", "vllm.json"]


def _read_vllm(folder: Path) -> Found:
    """Request k has the id bench-k; its TTFT ends at the role event, its first gap is the one to the first token."""
    report = json.loads((folder / "vllm.json").read_bytes())
    return Found([Seen(f"bench-{k}", round(ttft_s * 1e9)) for k, ttft_s in enumerate(report["ttfts"])])


def _offline(_: Scenario) -> dict[str, str]:
    return {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


ALL = (
    Client("genbench", None, _genbench, _read_genbench),
    Client("aiohttp loop", None, _loop("aiohttp_loop.py"), _read_loop),
    Client("aiohttp, uvloop, orjson", None, _loop("aiohttp_loop.py", "--fast"), _read_loop),
    Client("openai SDK loop", None, _loop("openai_loop.py"), _read_loop),
    Client("AIPerf", "aiperf", _aiperf, _read_aiperf, _aiperf_env),
    Client("GuideLLM", "guidellm", _guidellm, _read_guidellm, _offline),
    Client("vllm bench serve", "vllm", _vllm, _read_vllm, _offline),
)
