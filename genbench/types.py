"""The nouns of genbench: plain data with its defaults, standard library only at run time.

Rules
- Times are integer nanoseconds of `clock.now_ns` (names end in `_ns`); an instant that did not happen is -1, and so is
  every count that is not known. Metrics turn -1 into "absent", never into 0.
- Everything is frozen, but for `Record` and `Reply`, which are filled while a request is under way.
- A user's option is a field of a config dataclass with an `Opt`; flags, profile keys and help follow from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

MISSING = -1


class EventKind(IntEnum):
    """What one server-sent event (or one part of it) brought."""

    ROLE = 0
    EMPTY = 1
    REASONING = 2
    CONTENT = 3
    TOOL = 4
    FINISH = 5
    USAGE = 6
    COMMENT = 7
    ERROR = 8
    DONE = 9


CONTENT_KINDS = frozenset({EventKind.REASONING, EventKind.CONTENT, EventKind.TOOL})


class Phase(IntEnum):
    """Part of the run a request belongs to; only MEASURED counts."""

    WARMUP = 0
    MEASURED = 1


class Outcome(StrEnum):
    """How a request ended. `OK` only if the response is whole; see docs/metrics.md."""

    OK = "ok"
    NO_OUTPUT = "no_output"
    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    HTTP_ERROR = "http_error"
    PROTOCOL_ERROR = "protocol_error"
    STREAM_ERROR = "stream_error"
    TRUNCATED = "truncated"
    EMPTY_BODY = "empty_body"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_FIRST_TOKEN = "timeout_first_token"
    TIMEOUT_IDLE = "timeout_idle"
    TIMEOUT_TOTAL = "timeout_total"
    CANCELLED = "cancelled"


NOT_FAILED = frozenset({Outcome.OK, Outcome.NO_OUTPUT, Outcome.CANCELLED})


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the server reports them; -1 where it does not say."""

    prompt_tokens: int = MISSING
    completion_tokens: int = MISSING
    cached_tokens: int = MISSING
    reasoning_tokens: int = MISSING


@dataclass(frozen=True, slots=True)
class Event:
    """One thing an endpoint reader found in one message. Arrival times are filled in by the caller.

    `tokens` is how many tokens the event itself says it carries (token ids, logprobs), -1 if it does not. `usage` rides
    on the last event of its message. `embeddings` counts finite vectors.
    """

    kind: EventKind
    text: str = ""
    choice: int = 0
    tokens: int = MISSING
    usage: Usage | None = None
    finish_reason: str = ""
    embeddings: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One piece of work before it is salted: `messages`, `prompt` or `texts` (embeddings), whichever is there.

    `isl` is the number of content tokens where it is known exactly, `osl` the wanted output tokens (None: the model
    decides); both -1/None when the source does not say.
    """

    messages: tuple[Mapping[str, Any], ...] = ()
    prompt: str = ""
    texts: tuple[str, ...] = ()
    isl: int = MISSING
    osl: int | None = None
    session: int = MISSING
    turn: int = 0
    think_ns: int = 0
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A sample made ready to send: the exact bytes of the body."""

    index: int
    sample: Sample
    body: bytes
    max_tokens: int | None = None
    phase: Phase = Phase.MEASURED


@dataclass(frozen=True, slots=True)
class Schedule:
    """When requests leave.

    Open loop: `offset_ns` int64[n], non-decreasing from the start, and `concurrency` a cap or None. Closed loop:
    `offset_ns` None and `concurrency` requests in flight at any moment. `duration_ns` ends the measured phase (None: when the
    plan is used up); `warmup` is the number of requests at the front that are not measured.
    """

    offset_ns: "np.ndarray[Any, np.dtype[np.int64]] | None"
    concurrency: int | None
    duration_ns: int | None
    warmup: int
    grace_ns: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run sends, fixed before the clock starts.

    `requests` may make its items when they are asked for (a closed loop limited by time alone), but always the same ones for
    the same seed and salt. `dataset_sha256` is over the samples before the salt: two plans compare when it is equal.
    """

    requests: Sequence[Request]
    schedule: Schedule
    seed: int
    salt: str
    dataset_sha256: str
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Record:
    """Everything known of one request, written as one line when it ends.

    Clock points are those of docs/metrics.md; the event lists run in parallel, one entry per event found.
    `event_shared` is 1 where the same read held an earlier event of this request: the kernel's stamp is then that of
    the last segment, an upper bound. `event_tokens` is -1 where nothing in the stream says how many tokens an event has.
    """

    index: int = 0
    worker: int = 0
    target: int = 0
    session: int = MISSING
    turn: int = 0
    phase: int = Phase.MEASURED
    connection: int = MISSING
    attempts: int = 1
    streamed: bool = False
    intended_ns: int = MISSING
    ready_ns: int = MISSING
    start_ns: int = MISSING
    dns_ns: int = MISSING
    tcp_end_ns: int = MISSING
    tls_end_ns: int = MISSING
    sent_ns: int = MISSING
    sent_end_ns: int = MISSING
    headers_ns: int = MISSING
    end_ns: int = MISSING
    event_ns: list[int] = field(default_factory=list)
    event_kind: list[int] = field(default_factory=list)
    event_choice: list[int] = field(default_factory=list)
    event_tokens: list[int] = field(default_factory=list)
    event_shared: list[int] = field(default_factory=list)
    isl_wanted: int = MISSING
    isl_usage: int = MISSING
    isl_tokenizer: int = MISSING
    osl_wanted: int = MISSING
    osl_usage: int = MISSING
    osl_tokenizer: int = MISSING
    cached_tokens: int = MISSING
    reasoning_tokens: int = MISSING
    inputs: int = 1
    embeddings: int = 0
    choices: int = 1
    request_bytes: int = 0
    response_bytes: int = 0
    finish_reason: str = ""
    status: int = MISSING
    outcome: Outcome = Outcome.CANCELLED
    error: str = ""
    retry_after: str = ""
    done: bool = False
    unterminated: bool = False


@dataclass(slots=True)
class Reply:
    """The raw response as the transport hands it on: what it saw, decoded later.

    `chunks` are body pieces with the stamp of the segment that brought them (chunked coding already removed).
    `outcome` is what the transport itself can tell: None when the HTTP framing was complete or the body legitimately
    ran until the connection closed (`until_close`), else the failure.
    """

    status: int = MISSING
    content_type: str = ""
    retry_after: str = ""
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    until_close: bool = False
    outcome: Outcome | None = None
    error: str = ""


class Endpoint(Protocol):
    """What a module in `endpoints/` provides (one file, one endpoint kind)."""

    PATH: str
    FRAMING: str  # "sse" when it can stream, else "json"

    def build(self, sample: Sample, options: Mapping[str, Any]) -> dict[str, Any]:
        """Request body of a sample. `options`: model, stream, max_tokens, max_tokens_field, extra (mapping), ..."""

    def read(self, message: Mapping[str, Any]) -> list[Event]:
        """Events in one decoded message: a stream's chunk or a whole response."""


# ---------------------------------------------------------------------------------------------------------------------
# Options


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server and how to speak to it."""

    url: Annotated[
        str | None,
        Opt(
            "server address, with or without /v1",
            metavar="URL",
            default="the embedded engine",
            front=True,
            aliases=("-u",),
            habits=("--base-url",),
        ),
    ] = None
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

    input_file: Annotated[
        str | None,
        Opt(
            "JSON lines with text, prompt or messages; optional max_tokens",
            metavar="FILE",
            default="synthetic prompts",
            aliases=("-i",),
            front=True,
        ),
    ] = None
    isl: Annotated[
        int,
        Opt(
            "input tokens of a synthetic prompt",
            unit="tokens",
            at_least=1,
            front=True,
            habits=("--synthetic-input-tokens-mean", "--random-input-len"),
        ),
    ] = 550
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
        int | None,
        Opt(
            "output tokens to ask for; none: the model decides",
            unit="tokens",
            at_least=1,
            front=True,
            default="128; the file's own with --input-file",
            habits=("--output-tokens-mean", "--random-output-len"),
        ),
    ] = 128
    osl_stddev: Annotated[
        float,
        Opt("standard deviation of the output length", unit="tokens", at_least=0, habits=("--output-tokens-stddev",)),
    ] = 0.0
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
    request_seed: Annotated[int | None, Opt("the request's own seed field", default="not sent")] = None
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
        Opt("Poisson arrivals per second; inf: all at once", unit="req/s", above=0, front=True, aliases=("-r",)),
    ] = None
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
            default="min(concurrency, 32); 10 with a rate",
            habits=("--warmup-request-count", "--num-warmups"),
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
    json: Annotated[bool, Opt("print the summary as JSON and nothing else", front=True)] = False
    quiet: Annotated[bool, Opt("no progress line", aliases=("-q",))] = False
    yes: Annotated[bool, Opt("send a large load to a public address without asking", aliases=("-y",))] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything a run is made from. Sections are flat for the user: every option has one name."""

    target: Target = field(default_factory=Target)
    workload: Workload = field(default_factory=Workload)
    load: Load = field(default_factory=Load)
    limits: Limits = field(default_factory=Limits)
    output: Output = field(default_factory=Output)
    slo: Annotated[
        tuple[str, ...],
        Opt("promise to check, like 'ttft.p95<500ms' or 'error_rate<1%'; repeatable", metavar="RULE", front=True),
    ] = ()
    seed: Annotated[int, Opt("of prompts, lengths and arrivals", at_least=0, habits=("--random-seed",))] = 0


# ---------------------------------------------------------------------------------------------------------------------
# The right half: from the records on


@dataclass(frozen=True, slots=True)
class Slo:
    """One promise: `metric.stat op bound`, bound in the metric's own unit (ms, %, req/s, ...). `stat` "" for run metrics."""

    metric: str
    stat: str
    op: str
    bound: float
    text: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """One per-request (or pooled) metric over its eligible population; `stats` maps mean, std, min, max, p1 ... p99.9.

    `ci95` maps a statistic to its two-sided 95 % interval; either bound may be None where no such order statistic
    exists. `ci_method` names how. `few` lists the percentiles with too few samples behind them.
    """

    unit: str
    count: int
    stats: Mapping[str, float]
    ci95: Mapping[str, tuple[float | None, float | None]]
    ci_method: Mapping[str, str]
    few: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SloResult:
    """One promise held against a run; `value` None when the run has no such number (then it is missed)."""

    slo: Slo
    value: float | None
    passed: bool
    attainment_pct: float | None


@dataclass(frozen=True, slots=True)
class RunValue:
    """One figure of the whole run; `ci95` where an interval can be given."""

    unit: str
    value: float
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run says: see docs/metrics.md for each key. Pure function of the records and the header."""

    metrics: Mapping[str, Distribution]
    run: Mapping[str, RunValue]
    outcomes: Mapping[str, int]
    examples: Mapping[str, str]  # one message per kind of outcome that is not ok
    slo: tuple[SloResult, ...]
    notes: tuple[str, ...]  # sentences a reader must see: token source, repeats, sampled lengths
    sources: Mapping[str, str]  # isl, osl, tokens_per_event -> where the counts came from
    simulated: bool
    interrupted: bool
    warmup_requests: int
    verdict: str | None = None
    findings: tuple[Mapping[str, Any], ...] = ()
