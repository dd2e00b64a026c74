"""A user's options, each declared once: a field of a config dataclass with an `Opt`. Standard library only.

Flags, profile keys, `--help` and the table in docs/ follow from these fields; defaults live here and nowhere else.
Sections are for the code; to a user every option has one flat name (`--isl`, `isl:` in a profile).
"""

import re
from dataclasses import dataclass, field
from typing import Annotated

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Seconds of '50ms', '30', '2m'. Raises ValueError; a sign is read, so that the caller can say what it refuses."""
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*([a-z]*)\s*", text)
    if match is None or (match[2] or "s") not in SECONDS:
        raise ValueError(text)
    return float(match[1]) * SECONDS[match[2] or "s"]


@dataclass(frozen=True, slots=True)
class Opt:
    """How a config field appears to a user: the long flag is the field's name unless `flag` says otherwise.

    `unit` "s" accepts 30, 500ms, 2m; `front` puts it on the first help page; `aliases` are shown, `habits` are other
    tools' spellings, understood but not shown. `secret` values never reach a file or a message.
    """

    help: str
    unit: str = ""
    flag: str = ""
    aliases: tuple[str, ...] = ()
    habits: tuple[str, ...] = ()
    metavar: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    front: bool = False
    secret: bool = False
    negative: str = ""  # the flag that sets a bool to false
    bare: str = ""  # what the flag means without a value, where it may stand alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server and how to speak to it."""

    url: Annotated[
        tuple[str, ...],
        Opt(
            "server address, with or without /v1, or unix:///path; several take turns",
            metavar="URL",
            default="the embedded engine",
            front=True,
            aliases=("-u",),
            habits=("--base-url",),
        ),
    ] = ()
    model: Annotated[
        str | None,
        Opt("model name to ask for", metavar="NAME", default="the server's first", front=True, aliases=("-m",)),
    ] = None
    endpoint_type: Annotated[
        str, Opt("chat, completions or embeddings, or a file of your own", metavar="KIND", front=True)
    ] = "chat"
    endpoint: Annotated[
        str | None, Opt("request path", metavar="PATH", default="by kind: /v1/chat/completions ...")
    ] = None
    stream: Annotated[
        bool | None,
        Opt(
            "ask for a stream", default="yes for chat and completions", habits=("--streaming",), negative="--no-stream"
        ),
    ] = None
    api_key: Annotated[
        str | None, Opt("bearer token", metavar="KEY", default="OPENAI_API_KEY", secret=True, front=True)
    ] = None
    header: Annotated[
        tuple[str, ...],
        Opt("extra request header, 'Name: value'; repeatable", metavar="HEADER", aliases=("-H",), secret=True),
    ] = ()
    extra: Annotated[
        tuple[str, ...],
        Opt(
            "extra body field, key=value or a JSON object; repeatable",
            metavar="FIELD",
            habits=("--extra-inputs", "--extra-body"),
        ),
    ] = ()
    transport: Annotated[
        str,
        Opt(
            "wire (kernel stamps), aiohttp (proxies) or openai (what a user of the SDK feels)",
            metavar="NAME",
            choices=("wire", "aiohttp", "openai"),
        ),
    ] = "wire"
    service_kind: Annotated[str | None, Opt("kind of service; only openai", metavar="KIND", choices=("openai",))] = None
    ca_cert: Annotated[str | None, Opt("PEM file of the authority to trust", metavar="FILE")] = None
    insecure_tls: Annotated[bool, Opt("do not check the server's certificate")] = False
    tokenizer: Annotated[
        str | None,
        Opt(
            "folder, name in the local hub cache, tiktoken:NAME, or server",
            metavar="NAME",
            default="the server's usage",
            front=True,
        ),
    ] = None
    download: Annotated[bool, Opt("allow the tokenizer to be downloaded")] = False
    wait_ready_s: Annotated[float, Opt("keep asking a server that is not ready for so long", unit="s", at_least=0)] = (
        30.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sent."""

    dataset: Annotated[
        str | None,
        Opt(
            "where prompts come from, like sharegpt:FILE, random or hf:NAME (genbench list datasets)",
            metavar="NAME[:PATH]",
            default="synthetic",
            front=True,
        ),
    ] = None
    input_file: Annotated[
        str | None,
        Opt("short for --dataset jsonl:FILE", metavar="FILE", aliases=("-i",)),
    ] = None
    plan: Annotated[str | None, Opt("send exactly what `genbench plan` wrote", metavar="FILE")] = None
    columns: Annotated[
        str | None,
        Opt("names of the file's columns, like 'prompt=question,output=answer'", metavar="MAP", default="by data set"),
    ] = None
    sampling: Annotated[
        str,
        Opt(
            "order of a file's rows: sequential, shuffle (each once, then again), random (with repeats)",
            metavar="HOW",
            choices=("sequential", "shuffle", "random"),
        ),
    ] = "sequential"
    isl: Annotated[
        str,
        Opt(
            "input tokens of a synthetic prompt: N, LOW-HIGH (uniform), normal:MEAN,STDDEV or lognormal:MEAN,STDDEV",
            unit="tokens",
            metavar="LENGTH",
            front=True,
            habits=("--synthetic-input-tokens-mean", "--random-input-len"),
        ),
    ] = "550"
    isl_stddev: Annotated[
        float,
        Opt(
            "standard deviation of the input length",
            unit="tokens",
            at_least=0,
            habits=("--synthetic-input-tokens-stddev",),
        ),
    ] = 0.0
    osl: Annotated[
        str | None,
        Opt(
            "output tokens to ask for, written like --isl; none: the model decides",
            unit="tokens",
            metavar="LENGTH",
            front=True,
            default="128; the file's own with a file",
            habits=("--output-tokens-mean", "--random-output-len"),
        ),
    ] = "128"
    osl_stddev: Annotated[
        float,
        Opt("standard deviation of the output length", unit="tokens", at_least=0, habits=("--output-tokens-stddev",)),
    ] = 0.0
    isl_osl: Annotated[
        str | None,
        Opt("pairs of lengths with their shares, like '128:32@40,2048:256@60'", metavar="PAIRS"),
    ] = None
    min_isl: Annotated[
        int | None, Opt("leave out shorter inputs (needs --tokenizer)", unit="tokens", at_least=1, at_most=1e7)
    ] = None
    max_isl: Annotated[
        int | None, Opt("leave out longer inputs (needs --tokenizer)", unit="tokens", at_least=1, at_most=1e7)
    ] = None
    max_osl: Annotated[
        int | None, Opt("ask for at most so many output tokens", unit="tokens", at_least=1, at_most=1e7)
    ] = None
    max_model_len: Annotated[
        int | None,
        Opt(
            "what input and output may come to together", unit="tokens", at_least=1, at_most=1e7, default="the server's"
        ),
    ] = None
    on_too_long: Annotated[
        str,
        Opt(
            "a prompt beyond the model's length: skip, truncate or fail",
            metavar="WHAT",
            choices=("skip", "truncate", "fail"),
        ),
    ] = "skip"
    system_prompt: Annotated[
        str | None, Opt("system message in front of every conversation", metavar="TEXT|@FILE", default="none")
    ] = None
    apply_chat_template: Annotated[
        bool, Opt("completions: put prompts through the chat template of --tokenizer first")
    ] = False
    shared_prefix_tokens: Annotated[
        int,
        Opt(
            "tokens that prompts begin with and share, on top of their own",
            unit="tokens",
            at_least=0,
            at_most=1e7,
            habits=("--prefix-prompt-length", "--random-prefix-len"),
        ),
    ] = 0
    num_prefixes: Annotated[
        int,
        Opt(
            "different shared prefixes",
            metavar="N",
            at_least=1,
            habits=("--num-prefix-prompts", "--prefix-prompt-pool-size"),
        ),
    ] = 1
    prefix_distribution: Annotated[
        str,
        Opt(
            "how often each prefix is taken: uniform or zipf (the k-th 1/k as often)",
            metavar="HOW",
            choices=("uniform", "zipf"),
        ),
    ] = "uniform"
    turns: Annotated[
        str | None,
        Opt(
            "turns of a conversation: a LENGTH for synthetic ones, all or the first N of a file's",
            metavar="N|all",
            habits=("--conversation-turn-mean", "--session-turns-mean"),
            default="1; all where a jsonl line has turns",
        ),
    ] = None
    think_time_s: Annotated[
        float | None,
        Opt("wait between an answer and the next turn", unit="s", at_least=0, default="the file's, else 0"),
    ] = None
    think_time_stddev_s: Annotated[float, Opt("its standard deviation (normal, cut at 0)", unit="s", at_least=0)] = 0.0
    history: Annotated[
        str,
        Opt(
            "what later turns repeat as the assistant's words: the server's own answers, or the dataset's",
            metavar="WHOSE",
            choices=("server", "dataset"),
            default="server; dataset where it has answers",
        ),
    ] = ""
    session_connection: Annotated[bool, Opt("keep each conversation on one connection of its own")] = False
    batch_size: Annotated[int, Opt("inputs per embeddings request", unit="inputs", at_least=1, habits=("-b",))] = 1
    ignore_eos: Annotated[
        bool | None,
        Opt(
            "ask the server not to stop before the output length",
            default="yes for synthetic prompts where the server takes it",
            negative="--no-ignore-eos",
        ),
    ] = None
    temperature: Annotated[float | None, Opt("sampling temperature", default="not sent", at_least=0)] = None
    top_p: Annotated[float | None, Opt("nucleus sampling", default="not sent", above=0, at_most=1)] = None
    request_seed: Annotated[int | None, Opt("the request's own seed field", default="not sent", at_most=2**63 - 1)] = (
        None
    )
    salt: Annotated[
        str | None,
        Opt(
            "text that keeps a repeated run out of the prefix cache; none: no salt",
            metavar="TEXT",
            default="new for each run",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How hard and how long."""

    concurrency: Annotated[
        int | None,
        Opt(
            "requests in flight; with --request-rate the cap",
            metavar="N",
            default="1",
            at_least=1,
            front=True,
            aliases=("-c",),
            habits=("--max-concurrency",),
        ),
    ] = None
    request_rate: Annotated[
        float | None,
        Opt("arrivals per second, Poisson; inf: all at once", unit="req/s", above=0, front=True, aliases=("-r",)),
    ] = None
    arrival: Annotated[
        str | None,
        Opt(
            "how they arrive: poisson, constant, gamma, trace (the data set's own times), or a file of your own",
            metavar="NAME",
            default="poisson",
            habits=("--arrival-pattern", "--request-rate-mode"),
        ),
    ] = None
    burstiness: Annotated[
        float | None,
        Opt("shape of gamma arrivals: below 1 burstier than Poisson, above 1 more even", at_least=0.01, default="1"),
    ] = None
    ramp: Annotated[str | None, Opt("a rate that rises (or falls) evenly, like 1:50:60s", metavar="FROM:TO:TIME")] = (
        None
    )
    stages: Annotated[str | None, Opt("one rate after the other, like '5@30s,20@60s'", metavar="RATE@TIME,...")] = None
    speed: Annotated[
        float | None, Opt("replay a trace so many times as fast (means --arrival trace)", above=0, default="1")
    ] = None
    ramp_up_s: Annotated[float, Opt("closed loop: open the slots evenly over this time", unit="s", at_least=0)] = 0.0
    request_count: Annotated[
        int | None,
        Opt(
            "measured requests",
            metavar="N",
            at_least=1,
            front=True,
            aliases=("-n",),
            default="max(100, 10 x concurrency) or 60 s, whichever first",
        ),
    ] = None
    duration_s: Annotated[
        float | None,
        Opt("measured time", unit="s", above=0, front=True, aliases=("-d",), habits=("--benchmark-duration",)),
    ] = None
    warmup: Annotated[
        int | None,
        Opt(
            "requests before the measurement; 0: none",
            metavar="N",
            at_least=0,
            front=True,
            default="min(concurrency, 32); 10 with a rate; 0 for a trace",
            habits=("--warmup-request-count", "--num-warmups"),
        ),
    ] = None
    until_ci: Annotated[
        str | None,
        Opt(
            "stop when a 95 % interval is narrow enough, like 'ttft.p95:5%' (within 5 % of the value to either side)",
            metavar="METRIC.STAT:P%",
            default="never",
        ),
    ] = None
    grace_s: Annotated[float, Opt("wait so long for what is in flight when the time is up", unit="s", at_least=0)] = (
        30.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a request is given up."""

    connect_timeout_s: Annotated[float, Opt("give up a connection after", unit="s", above=0)] = 10.0
    idle_timeout_s: Annotated[
        float, Opt("give up a silent response after (covers the first token)", unit="s", above=0)
    ] = 300.0
    timeout_first_token_s: Annotated[
        float | None, Opt("give up a stream without a token after", unit="s", above=0, default="none")
    ] = None
    timeout_total_s: Annotated[
        float | None,
        Opt(
            "give up a request after",
            unit="s",
            above=0,
            default="none",
            habits=("--request-timeout-seconds", "--timeout"),
        ),
    ] = None
    stop_after_errors: Annotated[
        str | None,
        Opt(
            "end the run at so many failed requests, or at such a share of them once 20 have ended",
            metavar="N|P%",
            default="never",
            habits=("--max-errors",),
        ),
    ] = None
    retry: Annotated[
        bool, Opt("send once more when a kept-alive connection closed without a byte", negative="--no-retry")
    ] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is written and shown."""

    artifact_dir: Annotated[str, Opt("folder for the run's own folder", metavar="DIR", front=True)] = "artifacts"
    name: Annotated[
        str | None, Opt("name of the run's folder", metavar="NAME", default="from model, load and time")
    ] = None
    save_inputs: Annotated[bool, Opt("write the request bodies to inputs.jsonl")] = False
    save_outputs: Annotated[bool, Opt("write the answers' texts to outputs.jsonl")] = False
    plots: Annotated[
        bool,
        Opt("draw the figures and write report.html", negative="--no-plots", habits=("--generate-plots",)),
    ] = True
    export: Annotated[
        tuple[str, ...],
        Opt(
            "write another tool's files, too: vllm, aiperf, genai-perf, guidellm, or a .py of yours; repeatable",
            metavar="NAME",
        ),
    ] = ()
    upload: Annotated[
        str | None,
        Opt("put the folder there when all is done, like s3://bucket/prefix (see docs/upload.md)", metavar="URL"),
    ] = None
    json: Annotated[bool, Opt("print the summary as JSON and nothing else", front=True)] = False
    strict: Annotated[bool, Opt("exit with 4 when the run's verdict is INVALID", front=True)] = False
    quiet: Annotated[bool, Opt("no progress line", aliases=("-q",))] = False
    yes: Annotated[bool, Opt("send a large load to a public address without asking", aliases=("-y",))] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the run is of, in the user's words: nothing of it is asked of the server, all of it goes with the run."""

    metadata: Annotated[
        tuple[str, ...], Opt("a note that goes with the run, like team=search; repeatable", metavar="KEY=VALUE")
    ] = ()
    instance: Annotated[
        str | None, Opt("what the server runs on, like g5.12xlarge (see docs/cost.md)", metavar="NAME")
    ] = None
    gpu: Annotated[str | None, Opt("its kind of GPU, like A10G or H100-80", metavar="NAME")] = None
    gpu_count: Annotated[int | None, Opt("its GPUs that the model uses", metavar="N", at_least=1)] = None
    gpu_memory_gb: Annotated[
        float | None, Opt("memory of each GPU, in GB", flag="--gpu-memory", metavar="GB", above=0)
    ] = None
    tensor_parallel: Annotated[int | None, Opt("GPUs that the model is split over", metavar="N", at_least=1)] = None
    price_per_hour: Annotated[
        float | None, Opt("what it costs, in dollars per hour, for genbench cost", metavar="DOLLARS", above=0)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What the server and its GPUs say of themselves while the load runs; see docs/telemetry.md."""

    server_metrics: Annotated[
        tuple[str, ...],
        Opt(
            "where the server tells its own metrics; alone: they have to be there; repeatable",
            metavar="[URL|off]",
            default="<url>/metrics of each server, where it answers",
            bare="on",
        ),
    ] = ()
    gpu_telemetry: Annotated[
        tuple[str, ...],
        Opt("a DCGM exporter, like http://localhost:9400; repeatable", metavar="URL"),
    ] = ()
    prometheus: Annotated[
        tuple[str, ...],
        Opt('a Prometheus server to ask for both after the run; ?match=job="vllm" chooses; repeatable', metavar="URL"),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything a run is made from. Sections are flat for the user: every option has one name."""

    target: Target = field(default_factory=Target)
    workload: Workload = field(default_factory=Workload)
    load: Load = field(default_factory=Load)
    limits: Limits = field(default_factory=Limits)
    output: Output = field(default_factory=Output)
    about: About = field(default_factory=About)
    telemetry: Telemetry = field(default_factory=Telemetry)
    slo: Annotated[
        tuple[str, ...],
        Opt(
            "promise to check, like 'ttft.p95<500ms' or 'error_rate<1%', or a set of them, like chat; repeatable",
            metavar="RULE|NAME",
            front=True,
        ),
    ] = ()
    goodput: Annotated[
        str | None,
        Opt("promise of each request, like 'ttft:500 tpot:50' (ms): a good one keeps all", metavar="METRIC:MS ..."),
    ] = None
    attainment: Annotated[
        str | None, Opt("with --goodput: the share of requests that has to be good", metavar="P%", default="95%")
    ] = None
    seed: Annotated[
        int, Opt("of prompts, lengths and arrivals", at_least=0, at_most=2**63 - 1, habits=("--random-seed",))
    ] = 0
