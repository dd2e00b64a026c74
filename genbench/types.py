"""The nouns of genbench: plain data with its defaults, standard library only at run time.

Rules
- Times are integer nanoseconds of `clock.now_ns` (names end in `_ns`); an instant that did not happen is -1, and so is
  every count that is not known. Metrics turn -1 into "absent", never into 0.
- Everything is frozen, but for `Record` and `Reply`, which are filled while a request is under way. `Event` and `Usage`
  are made once per token: named tuples, at a third of a frozen dataclass's cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

MISSING = -1
OPEN_ENDED = 1 << 62


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


class Usage(NamedTuple):
    """Token counts as the server reports them; -1 where it does not say."""

    prompt_tokens: int = MISSING
    completion_tokens: int = MISSING
    cached_tokens: int = MISSING
    reasoning_tokens: int = MISSING


class Event(NamedTuple):
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
    """One piece of work before it is salted: `messages`, `prompt`, `texts` (embeddings) or `token_ids`, whichever is
    there.

    `isl` is the wanted number of content tokens (-1: the source does not say), `osl` the wanted output tokens (None:
    the model decides). The turns of a conversation follow each other, with the same `session` and `turn` 0, 1, ...;
    each holds what is new in it (the user's words), `answer` is what the data set's assistant said to them and
    `think_ns` the wait between the end of the answer before and this turn. `at_ns` is the moment a trace has for it,
    from the trace's own zero.
    """

    messages: tuple[Mapping[str, Any], ...] = ()
    prompt: str = ""
    texts: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()
    isl: int = MISSING
    osl: int | None = None
    session: int = MISSING
    turn: int = 0
    think_ns: int = 0
    answer: str = ""
    at_ns: int = MISSING
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A sample made ready to send: the exact bytes of the body.

    `isl_tokenizer` is the content's length by the client's own tokenizer, salt included; `choices` the answers asked
    for. `then` makes the conversation's next turn from the answer to this one (None: this is the last); it looks at the
    answer only where `needs_answer`. The next turn leaves `sample.think_ns` (its own) after the end of this one.
    """

    index: int
    sample: Sample
    body: bytes
    max_tokens: int | None = None
    phase: Phase = Phase.MEASURED
    isl_tokenizer: int = MISSING
    choices: int = 1
    then: "Callable[[str], Request] | None" = None
    needs_answer: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """When requests leave.

    Open loop: `offset_ns` int64[n], non-decreasing from the start, and `concurrency` a cap or None. Closed loop:
    `offset_ns` None and `concurrency` requests in flight at any moment. `duration_ns` ends the measured phase (None:
    when the plan is used up); `warmup` is the number of requests at the front that are not measured. `ramp_up_ns`: the
    slots of a closed loop open evenly over so long. `even` False: the load changes by design (a ramp, stages, a trace),
    so there is no steady window. With conversations all of this is about their first turns.
    """

    offset_ns: "np.ndarray[Any, np.dtype[np.int64]] | None"
    concurrency: int | None
    duration_ns: int | None
    warmup: int
    grace_ns: int
    ramp_up_ns: int = 0
    even: bool = True


class Requests(Protocol):
    """The plan's requests, built some way ahead of the one being sent; each is asked for once.

    With conversations these are their first turns; `Request.index` counts every turn, so it leaves gaps.
    """

    def __len__(self) -> int:
        """How many there are; OPEN_ENDED when only time limits the run."""

    def __getitem__(self, index: int) -> Request:
        """Hand over one; made on the spot when the building did not keep up."""

    def is_made(self, index: int) -> bool:
        """Whether it is ready to be sent."""

    def refill(self, used: int, budget_ns: int) -> bool:
        """Build ahead of `used` for about `budget_ns`; True when far enough ahead."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run sends, fixed before the clock starts.

    `requests` makes its items ahead of their use, always the same ones for the same seed and salt.
    `dataset_sha256` is over the samples before the salt: what comparisons use. `notes` says what is known so far: what
    was left out, used twice or not of the exact length.
    """

    requests: "Requests"
    schedule: Schedule
    seed: int
    salt: str
    dataset_sha256: str
    notes: "Callable[[], tuple[str, ...]]" = tuple


@dataclass(slots=True)
class Record:
    """Everything known of one request, written as one line when it ends.

    Clock points are those of docs/metrics.md; the event lists run in parallel, one entry per event found.
    `event_shared` is 1 where the same read held an earlier event of this request: the kernel's stamp is then that of
    the last segment, an upper bound. `event_tokens` is -1 where nothing in the stream says how many tokens it has.
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


@dataclass(frozen=True, slots=True)
class Slo:
    """One promise: `metric.stat op bound`, the bound in the metric's own unit; `stat` is "" for run metrics."""

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
class Finding:
    """One reason not to believe a run: `level` INVALID or SUSPECT, `value` beyond `bound`, `advice` the next step."""

    level: str
    check: str
    value: float
    bound: float
    unit: str
    text: str
    advice: str


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """One of several servers: its share of the run. `metrics` are distributions of its own requests."""

    url: str
    requests: int
    ok: int
    request_throughput: float
    metrics: Mapping[str, Mapping[str, float]]


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
    verdict: str
    findings: tuple[Finding, ...]
    targets: tuple[TargetFigures, ...] = ()  # where there were several
