"""One small request before any load: is the server there, does it take what we will send, what does it report?

Plain blocking calls (http.client) over the pinned address, outside of the log. What is learnt decides the bodies: the
model's name, which field limits the output, whether `ignore_eos` is taken, how many tokens the template adds and,
without a tokenizer of our own, how many tokens a common word has.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from genbench.clock import now_ns
from genbench.datasets import synthetic
from genbench.decode import ResponseDecoder
from genbench.errors import ConfigError, GenbenchError, TargetError
from genbench.options import RunConfig
from genbench.plan import Facts, body_options
from genbench.transport.address import Url, pin
from genbench.transport.connection import tls_message
from genbench.types import MISSING, Endpoint, Outcome, Record, Reply, Sample

TIMEOUT_S = 10.0
EVENTS = 16
TOKENS = 4
SOME_WORDS = 128
PATIENCE_NS = 1_000_000_000
CUT_SHORT = 0.7  # all words cannot have so much less on average than some of them
LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "min_tokens")
CHARACTERS_OFF = 4  # a server that counts characters may add a few special tokens
RETRIED = (429, 503)
POLL_S = 0.5
UNANSWERED = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What the preflight learnt. `template_tokens` is None where the server reports no usage."""

    facts: Facts
    family: int
    sockaddr: tuple[Any, ...]
    models: tuple[str, ...] = ()
    version: str = ""
    template_tokens: int | None = None
    time_to_ready_s: float = 0.0
    notes: tuple[str, ...] = field(default=())


class Prober:
    """Asks one server; keeps the address that answered."""

    def __init__(
        self, url: Url, headers: Mapping[str, str], tls: ssl.SSLContext | None, wait_s: float, *, patient: bool
    ) -> None:
        """`patient`: a refused connection, too, is asked again (the user said how long to wait)."""
        self.url = url
        self._headers = dict(headers)
        self._tls = tls
        self._began = time.monotonic()
        self._until = self._began + wait_s
        while True:
            try:
                self.family, self.sockaddr = pin(self.url, TIMEOUT_S)
                break
            except TargetError:
                if not patient or time.monotonic() > self._until:
                    raise
                time.sleep(POLL_S)

    def get(self, path: str) -> Any:
        """Decoded answer of a GET, None for anything but a 200 with JSON."""
        try:
            status, body = self._call("GET", path, None)
            return orjson.loads(body) if status == 200 else None
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
            return None  # optional questions: a server need not know them

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Decoded answer of a POST. Raises OSError or ValueError."""
        status, answer = self._call("POST", path, body)
        if status != 200:
            raise ValueError(f"HTTP {status}")
        found = orjson.loads(answer)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            data = None if body is None else orjson.dumps(body)
            connection.request(method, self.url.path(path), data, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.url.host, self.url.port, timeout=TIMEOUT_S)
        plain = socket.create_connection(self.sockaddr[:2], TIMEOUT_S)
        if self._tls is None:
            connection.sock = plain
            return connection
        try:
            connection.sock = self._tls.wrap_socket(plain, server_hostname=self.url.host)
        except OSError:
            plain.close()
            raise
        return connection

    def ask(
        self, path: str, endpoint: Endpoint, sample: Sample, options: Mapping[str, Any], *, once: bool = False
    ) -> tuple[Record, float]:
        """One request through the same decoder as the run's; answers 429 and 503 are asked again until ready.

        `once`: a slow answer is not asked for again.

        Returns the record and the seconds it took. Raises TargetError when nothing usable comes back in time.
        """
        unanswered = 0
        while True:
            try:
                record, seconds = self._ask_once(path, endpoint, sample, options)
            except ssl.SSLError as error:
                raise TargetError(
                    f"no TLS with {self.url.netloc}: {tls_message(error)}; see --ca-cert and --insecure-tls"
                ) from error
            except TimeoutError as error:
                if once or time.monotonic() > self._until:
                    raise TargetError(f"{self.url.netloc} did not answer a small request in {TIMEOUT_S:g} s") from error
                continue
            except (OSError, http.client.HTTPException) as error:
                unanswered += 1
                if unanswered == UNANSWERED:
                    raise TargetError(f"{self.url.netloc} gives no HTTP answer ({error}); check the port") from error
                time.sleep(POLL_S)
                continue
            if record.status not in RETRIED:
                return record, seconds
            if time.monotonic() > self._until:
                raise TargetError(f"{self.url.netloc} is not ready: {record.error}; wait longer with --wait-ready 10m")
            time.sleep(POLL_S)

    def _ask_once(
        self, path: str, endpoint: Endpoint, sample: Sample, options: Mapping[str, Any]
    ) -> tuple[Record, float]:
        record, reply = Record(inputs=max(1, len(sample.texts))), Reply()
        decoder = ResponseDecoder(record, endpoint)
        connection = self._connect()
        try:
            began = now_ns()
            connection.request(
                "POST", self.url.path(path), orjson.dumps(endpoint.build(sample, options)), self._headers
            )
            response = connection.getresponse()
            reply.status = response.status
            reply.content_type = response.getheader("content-type", "")
            try:
                while data := response.read1(1 << 16):
                    reply.chunks.append((now_ns(), data))
                    decoder.feed(reply)
                    if len(record.event_ns) >= EVENTS:  # a server that ignores our limit would go on for ever
                        reply.outcome = Outcome.CANCELLED
                        break
            except (http.client.HTTPException, ConnectionError) as error:  # the run itself will say how often
                reply.outcome, reply.error = Outcome.TRUNCATED, str(error)
            decoder.finish(reply)
            return record, (now_ns() - began) / 1e9
        finally:
            connection.close()

    @property
    def waited_s(self) -> float:
        """Seconds since the first try."""
        return time.monotonic() - self._began


def preflight(
    config: RunConfig, prober: Prober, path: str, endpoint: Endpoint, count: Callable[[str], int] | None
) -> Found:
    """Ask the server what the plan has to know; `count` is a local tokenizer's, None when there is none.

    Raises TargetError (not reachable, not ready) or ConfigError (it refuses: wrong model, key or path).
    """
    models = _models(prober)
    model = config.target.model or (models[0] if models else None)
    if model is None:
        # Only now is it worth knowing whether anybody is there at all.
        record, _ = prober.ask(path, endpoint, _small(config), body_options(config, Facts("")))
        if record.status in (401, 403) or record.status >= 500:
            _judge(record, prober, path, "")
        models = _models(prober)  # it may have been loading until now
        if not models:
            raise ConfigError(f"{prober.url.netloc} lists no models at /v1/models; name one with --model")
        model = models[0]
    facts, record, seconds, notes = _negotiate(config, prober, path, endpoint, model, models)
    ready_s = prober.waited_s - seconds

    def usage_of(text: str) -> int:
        """Input tokens of a text as the server counts them, template included; -1 where it does not say."""
        embeddings = config.target.endpoint_type == "embeddings"
        sample = Sample(texts=(text,)) if embeddings else Sample(prompt=text)
        options = _small_options(config, facts, None if embeddings else 1)
        try:
            return prober.ask(path, endpoint, sample, options, once=True)[0].isl_usage
        except TargetError:  # a slow prefill: we can do without this answer, the run itself will show it
            return MISSING

    template: int | None = None
    if models and model not in models:
        notes.append(f"the server lists {', '.join(models[:3])} and no '{model}': it may answer with another model")
    if record.isl_usage >= 0 and config.target.endpoint_type != "embeddings":
        small = _small(config).prompt
        # Without a tokenizer the text twice tells how many tokens it has by itself.
        own = count(small) if count is not None else usage_of(f"{small} {small}") - record.isl_usage
        template = max(0, record.isl_usage - (own if own > 0 else len(small.split())))
    if count is None and config.workload.input_file is None and record.isl_usage < 0:
        notes.append(
            "no usage from the server and no tokenizer: prompts have as many words as tokens were asked for,"
            " and tokens are not counted; name one with --tokenizer"
        )
    elif count is None and config.workload.input_file is None:
        per_word, odd = _tokens_per_word(config, usage_of, template or 0)
        facts = replace(facts, tokens_per_word=per_word)
        notes += odd
    version = prober.get("/version")
    return Found(
        facts=replace(facts, latency_s=seconds),
        family=prober.family,
        sockaddr=prober.sockaddr,
        models=models,
        version=str(version.get("version", "")) if isinstance(version, dict) else "",
        template_tokens=template,
        time_to_ready_s=ready_s,
        notes=tuple(notes),
    )


def _models(prober: Prober) -> tuple[str, ...]:
    answer = prober.get("/v1/models")
    items = answer.get("data") if isinstance(answer, dict) else None
    return tuple(str(item["id"]) for item in items or () if isinstance(item, dict) and "id" in item)


def _small_options(config: RunConfig, facts: Facts, limit: int | None) -> dict[str, Any]:
    """The run's options with a small limit, which no `--extra` may lift: a long answer is cut before its usage."""
    options = body_options(config, facts)
    if limit is not None:
        options["extra"] = {key: value for key, value in options["extra"].items() if key not in LENGTH_FIELDS}
    return options | {"max_tokens": limit}


def _small(config: RunConfig) -> Sample:
    if config.target.endpoint_type == "embeddings":
        return Sample(texts=("hello there",))
    return Sample(prompt="say some words about this")


def _negotiate(
    config: RunConfig, prober: Prober, path: str, endpoint: Endpoint, model: str, models: Sequence[str]
) -> tuple[Facts, Record, float, list[str]]:
    """Find a body the server takes: each refusal drops or changes the one field it can be about."""
    wanted = config.workload.ignore_eos
    facts = Facts(model=model, ignore_eos=wanted is not False and config.target.endpoint_type != "embeddings")
    notes: list[str] = []
    limit = None if config.target.endpoint_type == "embeddings" else TOKENS
    while True:
        options = _small_options(config, facts, limit)
        record, seconds = prober.ask(path, endpoint, _small(config), options)
        if record.status not in (400, 422):
            break
        if "max_completion_tokens" in record.error and facts.max_tokens_field == "max_tokens":
            facts = replace(facts, max_tokens_field="max_completion_tokens")
        elif facts.ignore_eos and wanted is None:
            facts = replace(facts, ignore_eos=False)
            notes.append("the server refuses ignore_eos and min_tokens: answers may end before the output length")
        elif facts.include_usage and "stream_options" in record.error:
            facts = replace(facts, include_usage=False)
            notes.append("the server refuses stream_options: no usage in the stream")
        else:
            break
    _judge(record, prober, path, model, models)
    if facts.ignore_eos and wanted is None:
        notes.append("ignore_eos and min_tokens are sent: answers should run to the output length")
    return facts, record, seconds, notes


def _judge(record: Record, prober: Prober, path: str, model: str, models: Sequence[str] = ()) -> None:
    where = prober.url.netloc
    if record.status in (401, 403):
        raise ConfigError(f"{where} refuses the key ({record.error}); give --api-key or OPENAI_API_KEY")
    if record.status == 404 and "model" in record.error.lower():
        known = ", ".join(models[:3])
        fix = f"it lists {known}: choose with --model" if known else "choose another with --model"
        raise ConfigError(f"{where} does not serve '{model}' ({record.error}); {fix}")
    if record.status == 404:
        raise ConfigError(f"{where} knows no {path} ({record.error}); see --endpoint-type and --endpoint")
    if 400 <= record.status < 500:
        raise ConfigError(f"{where} refuses a small request to '{model}' ({record.error}); change what it names")
    if not 200 <= record.status < 300:
        raise TargetError(f"{where} fails on a small request ({record.error or record.outcome.value}); look at its log")


def _tokens_per_word(config: RunConfig, usage_of: Callable[[str], int], template: int) -> tuple[float, list[str]]:
    """Tokens of a word of our list, as the server counts them; and what is odd about its count.

    Every word once, so that chance has no part in the mean; some of them first, for servers that cut a long input short
    or refuse it.
    """
    words = np.random.default_rng((config.seed, 2)).permutation(synthetic.words()).tolist()
    text = " ".join(words[:SOME_WORDS])
    began = now_ns()
    usage = usage_of(text)
    if usage <= 0:
        return 1.0, []
    if abs(usage - template - len(text)) <= CHARACTERS_OFF:  # infinity's usage does
        return 1.0, [
            "the server's usage counts characters, not tokens: so does the input length shown, and prompts have as many"
            " words as tokens were asked for; name a --tokenizer"
        ]
    some = max(0.1, (usage - template) / SOME_WORDS)
    if now_ns() - began > PATIENCE_NS:  # the whole list would take as many times longer as it is longer
        return some, []
    every = (usage_of(" ".join(words)) - template) / len(words)
    return (every if every > CUT_SHORT * some else some), []


def explain(error: GenbenchError, url_named: bool) -> GenbenchError:
    """The sentence for a server that is not there: without --url the demo may have been meant."""
    if url_named or not isinstance(error, TargetError) or not str(error).startswith("no server"):
        return error
    return TargetError("no server at localhost:8000; give --url, or run `genbench profile` alone for the demo")
