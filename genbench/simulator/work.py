"""From a request's body to `Work`: what one generative request wants, what the engine shall do to it, or a refusal.

Tokens here are words between white space. A JSON list of token ids counts its length. A chat has 3 tokens of template
per message and 3 more. `/tokenize` and `usage` come from the same functions, so they always agree.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from genbench.errors import ConfigError
from genbench.simulator import faults
from genbench.simulator.faults import Faults
from genbench.simulator.options import MAX_MODEL_LEN, SimulatorOptions

MAX_DIMENSIONS = 4096
DIMENSIONS = 64
MAX_TOKENS = 1 << 31
TEMPLATE_TOKENS = 3
HTTP_1_0 = "1.0"


class Refusal(Exception):
    """A request that gets an error status: `status`, a JSON `body`, further head lines, and the fault behind it."""

    def __init__(self, status: int, body: object, *, head: bytes = b"", fault: str = "") -> None:
        super().__init__(status)
        self.status, self.body, self.head, self.fault = status, body, head, fault


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, complete. `received_ns` is the monotonic stamp of its last byte, `stamp` kernel or clock."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    received_ns: int
    stamp: str
    connection: int
    keep_alive: bool
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one generative request wants and how it shall go; `kind` is chat, completions or embeddings.

    `tokens` is per choice, times are offsets and gaps in ns. `close`: the connection ends after the answer.
    `until_close`: the body has no framing of its own. `scripted`: the request brought times of its own. `sizes` are the
    prompt tokens of each prompt (a chat is one), `prompt_tokens` their sum.
    """

    kind: str
    request_id: str
    number: int
    model: str
    created: int
    stream: bool
    tokens: int
    choices: int
    finish: str
    include_usage: bool
    continuous_usage: bool
    ttft_ns: int
    itl_ns: int
    gaps_ns: tuple[int, ...]
    jitter: float
    scripted: bool
    faults: Faults
    close: bool
    until_close: bool
    inputs: tuple[str | list[int], ...]
    sizes: tuple[int, ...]
    prompt_tokens: int
    dimensions: int
    base64: bool

    def prompt_usage(self) -> int:
        """Prompt tokens as usage tells them: characters under the fault `usage_chars`."""
        return sum(map(len, self.inputs)) if "usage_chars" in self.faults else self.prompt_tokens


def error(status: int, message: str, kind: str, param: str | None = None, code: str | int | None = None) -> Refusal:
    """A refusal in the shape of vLLM's errors."""
    body = {"message": message, "type": kind, "param": param, "code": status if code is None else code}
    return Refusal(status, {"error": body})


def invalid(field: str, message: str) -> Refusal:
    """400 for a field of the body."""
    return error(400, f"1 validation error:\n  {{'loc': 'body.{field}', 'msg': '{message}'}}", "Bad Request", field)


def decode(call: Call) -> dict[str, Any]:
    """The body as an object. Raises Refusal."""
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError as problem:
        message = f"1 validation error:\n  {{'type': 'json_invalid', 'msg': 'JSON decode error', 'ctx': '{problem}'}}"
        raise error(400, message, "Bad Request", "body") from problem
    if not isinstance(body, dict):
        raise invalid("", "Input should be a valid dictionary")
    return body


def check_model(body: Mapping[str, Any], served: str) -> None:
    """Raises Refusal (404) when the body asks for another model."""
    model = body.get("model")
    if model is not None and model != served:
        raise error(404, f"The model `{model}` does not exist.", "NotFoundError", "model")


def texts_of_messages(messages: object) -> tuple[str, ...]:
    """One text per message, the parts of a message joined. Raises Refusal."""
    if not isinstance(messages, list) or not messages:
        raise invalid("messages", "Field required" if messages is None else "Input should be a non-empty list")
    texts = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else message
        if isinstance(content, list):
            content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if content is not None and not isinstance(content, str):
            raise invalid("messages", "Input should be a valid string")
        texts.append(content or "")
    return tuple(texts)


def inputs_of(value: object, field: str) -> tuple[str | list[int], ...]:
    """Inputs of a text, a list of texts, token ids or a list of token ids. Raises Refusal."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise invalid(field, "Field required" if value is None else "Input should be a valid string or list")
    if not value:
        raise error(400, "You must pass at least one prompt", "BadRequestError")
    if all(type(item) is int for item in value):
        return (value,)
    if all(isinstance(item, str) for item in value) or all(
        isinstance(item, list) and all(type(token) is int for token in item) for item in value
    ):
        return tuple(value)
    raise invalid(field, "Input should be strings or token ids")


def count(text: str | list[int]) -> int:
    """Tokens of one input."""
    return len(text.split()) if isinstance(text, str) else len(text)


def token_ids(text: str | list[int]) -> list[int]:
    """Stable made-up ids, one per token."""
    if not isinstance(text, str):
        return text
    return [zlib.crc32(word.encode("utf-8", "surrogatepass")) % 32_000 for word in text.split()]


def chat_tokens(texts: tuple[str, ...]) -> int:
    """Tokens of a chat, template included."""
    return sum(map(count, texts)) + TEMPLATE_TOKENS * (len(texts) + 1)


def number_of(body: Mapping[str, Any], field: str, low: int, high: int) -> int | None:
    """A whole number of the body, None when absent or null. Raises Refusal."""
    value = body.get(field)
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise error(400, f"{field}={value!r} must be a whole number from {low} to {high}.", "BadRequestError", field)
    return value


def read_control(call: Call, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request's own `simulate` object: the header x-simulate, else the body's field. Raises Refusal."""
    text, control = call.headers.get("x-simulate"), body.get("simulate", {})
    if text is not None:
        try:
            control = orjson.loads(text)
        except orjson.JSONDecodeError as problem:
            raise invalid("simulate", f"x-simulate is not JSON: {problem}") from problem
    if not isinstance(control, dict):
        raise invalid("simulate", "simulate must be an object")
    for name, value in control.items():
        if name in ("ttft_ms", "itl_ms"):
            good = _is_time(value)
        elif name == "tokens":
            good = type(value) is int and 0 <= value <= MAX_MODEL_LEN
        elif name == "gaps_ms":
            good = isinstance(value, list) and all(map(_is_time, value))
        elif name == "fault":
            good = isinstance(value, str | list) and all(isinstance(one, str) for one in value)
        else:
            raise invalid("simulate", f"simulate has no '{name}'; use ttft_ms, itl_ms, tokens, gaps_ms, fault")
        if not good:
            raise invalid("simulate", f"simulate.{name} is {value!r}")
    return control


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 3.6e6  # type: ignore[operator]


def faults_of(control: Mapping[str, Any], number: int, defaults: Faults, share: float) -> Faults:
    """The faults of one request: its own when it names any (none: an empty list), else its share of the process's."""
    if "fault" not in control:
        return defaults if defaults and faults.falls_on(number, share) else {}
    asked = control["fault"]
    try:
        return faults.parse([asked] if isinstance(asked, str) and asked else list(asked))
    except ConfigError as problem:
        raise invalid("simulate", str(problem)) from problem


def refuse(body: Mapping[str, Any], found: Faults) -> None:
    """Raises Refusal for a fault that is one."""
    if "status" in found:
        status = int(found["status"])
        kind = {429: "RateLimitError", 503: "ServiceUnavailableError"}.get(status, "InternalServerError")
        refusal = error(status, f"simulated status {status}", kind)
        refusal.head, refusal.fault = b"retry-after: 1\r\n" if status == 429 else b"", "status"
        raise refusal
    extra = [name for name in ("ignore_eos", "min_tokens") if name in body]
    if "no_ignore_eos" in found and extra:
        names = ", ".join(f"'{name}'" for name in extra)
        raise Refusal(422, {"detail": f"Unexpected fields in the request: {{{names}}}"}, fault="no_ignore_eos")
    if "no_max_tokens" in found and "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        refusal = error(400, message, "invalid_request_error", "max_tokens", "unsupported_parameter")
        refusal.fault = "no_max_tokens"
        raise refusal
    if "no_stream_options" in found and "stream_options" in body:
        message = "Unknown parameter: 'stream_options'."
        refusal = error(400, message, "invalid_request_error", "stream_options", "unknown_parameter")
        refusal.fault = "no_stream_options"
        raise refusal


def read(
    kind: str, call: Call, request_id: str, number: int, created: int, options: SimulatorOptions, defaults: Faults
) -> Work:
    """What generative request `number` wants. Raises Refusal."""
    body = decode(call)
    check_model(body, options.model)
    control = read_control(call, body)
    found = faults_of(control, number, defaults, options.fault_share)
    refuse(body, found)
    inputs: tuple[str | list[int], ...]
    sizes: tuple[int, ...]
    if kind == "chat":
        texts = texts_of_messages(body.get("messages"))
        inputs, sizes = texts, (chat_tokens(texts),)
    else:
        field = "prompt" if kind == "completions" else "input"
        inputs = inputs_of(body.get(field), field)
        sizes = tuple(map(count, inputs))
    gaps_ns = tuple(round(gap * 1e6) for gap in control.get("gaps_ms", ()))
    room = _room(max(sizes), options.max_model_len or MAX_MODEL_LEN)
    tokens, finish = _length(body, control, gaps_ns, min(options.output_tokens, room))
    if kind != "embeddings":
        _check_length(max(sizes), tokens, options.max_model_len or MAX_MODEL_LEN)
    choices = number_of(body, "n", 1, 128) or 1
    stream_options = body.get("stream_options") or {}
    if not isinstance(stream_options, dict):
        raise invalid("stream_options", "Input should be a valid dictionary")
    until_close = "connection_close" in found or call.version == HTTP_1_0
    return Work(
        kind=kind,
        request_id=request_id,
        number=number,
        model=options.model,
        created=created,
        stream=bool(body.get("stream")) and kind != "embeddings",
        tokens=tokens if kind != "embeddings" else 0,
        choices=choices * (len(inputs) if kind == "completions" else 1),
        finish=finish,
        include_usage=bool(stream_options.get("include_usage")),
        continuous_usage=bool(stream_options.get("continuous_usage_stats")),
        ttft_ns=round(control.get("ttft_ms", options.ttft_s * 1e3) * 1e6),
        itl_ns=round(control.get("itl_ms", options.itl_s * 1e3) * 1e6),
        gaps_ns=gaps_ns,
        jitter=options.jitter,
        scripted=any(name in control for name in ("ttft_ms", "itl_ms", "gaps_ms")),
        faults=found,
        close=not call.keep_alive or until_close,
        until_close=until_close,
        inputs=inputs,
        sizes=sizes,
        prompt_tokens=sum(sizes),
        dimensions=number_of(body, "dimensions", 1, MAX_DIMENSIONS) or DIMENSIONS,
        base64=body.get("encoding_format") == "base64",
    )


def _room(prompt_tokens: int, most: int) -> int:
    """How many tokens an answer may have. Raises Refusal where the prompt leaves none, in vLLM's words."""
    if prompt_tokens < most:
        return most - prompt_tokens
    message = (
        f"This model's maximum context length is {most} tokens. However, your prompt contains at least {prompt_tokens} "
        "input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
        f"prompt. (parameter=input_tokens, value={prompt_tokens})"
    )
    raise error(400, message, "BadRequestError", "input_tokens")


def _check_length(prompt_tokens: int, tokens: int, most: int) -> None:
    """Raises Refusal for an answer that is too long, alone or after this prompt, in vLLM's words."""
    if tokens > most:
        message = (
            f"max_tokens={tokens} cannot be greater than max_model_len={most}. Please request fewer output tokens. "
            f"(parameter=max_tokens, value={tokens})"
        )
        raise error(400, message, "BadRequestError", "max_tokens")
    if prompt_tokens + tokens > most:
        message = (
            f"This model's maximum context length is {most} tokens. However, you requested {tokens} output tokens and "
            f"your prompt contains at least {prompt_tokens} input tokens, for a total of at least "
            f"{prompt_tokens + tokens} tokens. Please reduce the length of the input prompt or the number of requested "
            f"output tokens. (parameter=input_tokens, value={prompt_tokens})"
        )
        raise error(400, message, "BadRequestError", "input_tokens")


def _length(
    body: Mapping[str, Any], control: Mapping[str, Any], gaps_ns: tuple[int, ...], default: int
) -> tuple[int, str]:
    """Output tokens and the finish reason: 'length' when the request's own limit ends the answer, else 'stop'."""
    limit = number_of(body, "max_completion_tokens", 1, MAX_TOKENS)
    old = number_of(body, "max_tokens", 1, MAX_TOKENS)
    limit = old if limit is None else limit
    tokens = control.get("tokens")
    if tokens is None:
        tokens = limit if limit is not None else len(gaps_ns) + 1 if gaps_ns else default
    return tokens, "length" if limit is not None and tokens >= limit else "stop"
