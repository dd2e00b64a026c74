"""From a complete request to its script: routes, the key, the models, the books. No sockets, no clock of its own."""

from collections.abc import Callable
from typing import Any

from genbench import __version__
from genbench.simulator import faults
from genbench.simulator.brain import Batch
from genbench.simulator.figures import Figures
from genbench.simulator.options import SimulatorOptions
from genbench.simulator.play import Account
from genbench.simulator.script import SILENT, Script, answer, compose, refused, scripted
from genbench.simulator.truth import Truth
from genbench.simulator.work import (
    TEMPLATE_TOKENS,
    Call,
    Refusal,
    chat_tokens,
    check_model,
    count,
    decode,
    error,
    inputs_of,
    read,
    texts_of_messages,
    token_ids,
)

GENERATIVE = {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings"}
ALWAYS = ("/truth", "/metrics")  # also while loading
PLAIN = b"text/plain; version=0.0.4; charset=utf-8"


class Service:
    """Answers calls, by a script or out of the `batch`.

    `created` is the wall clock's second of the start, `started_ns` its monotonic ns.
    """

    def __init__(self, options: SimulatorOptions, batch: Batch | None, created: int, started_ns: int) -> None:
        self._options = options
        self._batch = batch
        self._created = created
        self._started_ns = started_ns
        self._faults = faults.parse(options.fault)
        self._calls = 0
        self._generative = 0
        self._truth = Truth(options.truth_limit)
        self._figures = Figures()
        self._routes: dict[str, dict[str, Callable[[Call], object]]] = {
            "/v1/models": {"GET": self._models},
            "/health": {"GET": lambda _: b""},
            "/version": {"GET": lambda _: {"version": __version__}},
            "/tokenize": {"POST": self._tokenize},
            "/metrics": {"GET": self._metrics},
            "/truth": {"GET": lambda _: self._truth.as_dict(), "DELETE": self._clear},
        }

    def respond(self, call: Call) -> tuple[Script, Account | None]:
        """The script of a call; with books when it is a generative one."""
        self._calls += 1
        request_id = call.headers.get("x-request-id") or f"sim-{self._calls}"
        route = _route(call.path)
        if route in GENERATIVE and call.method == "POST":
            return self._generate(GENERATIVE[route], call, request_id)
        close = not call.keep_alive
        try:
            self._admit(call, route)
            handlers = self._routes.get(route, {})
            methods = ("POST",) if route in GENERATIVE else tuple(handlers)
            if not methods:
                raise Refusal(404, {"detail": "Not Found"})
            if call.method not in handlers:
                allowed = b"allow: %b\r\n" % ", ".join(methods).encode()
                raise Refusal(405, {"detail": "Method Not Allowed"}, head=allowed)
            body = handlers[call.method](call)
        except Refusal as refusal:
            return refused(refusal, request_id, close=close), None
        if route == "/metrics":
            return answer(200, body, request_id, close=close, kind=PLAIN), None
        return answer(200, body, request_id, close=close), None

    def _generate(self, kind: str, call: Call, request_id: str) -> tuple[Script, Account]:
        number = self._generative
        self._generative += 1
        entry = self._truth.open(request_id, call.connection, call.received_ns, call.stamp)
        try:
            self._admit(call, "/v1")
            work = read(kind, call, request_id, number, self._created, self._options, self._faults)
            self._load(call, work.faults)
        except Refusal as refusal:
            return refused(refusal, request_id, close=not call.keep_alive), Account(None, entry, self._figures)
        batch = self._batch
        if batch is None or work.scripted or any(name in work.faults for name in SILENT):
            return compose(work, scripted(work)), Account(work, entry, self._figures)
        feed = batch.take(work, call.received_ns)
        if batch.scheduler.cache is not None:
            return compose(work, feed, lambda: feed.cached_tokens), Account(work, entry, self._figures, feed)
        return compose(work, feed), Account(work, entry, self._figures, feed)

    def _admit(self, call: Call, route: str) -> None:
        """Raises Refusal while the process is loading (on every route), and for a wrong key below /v1, like vLLM."""
        if route not in ALWAYS:
            self._load(call, self._faults)
        key = self._options.api_key
        if key is not None and route.startswith("/v1") and call.headers.get("authorization") != f"Bearer {key}":
            raise Refusal(401, {"error": "Unauthorized"})

    def _load(self, call: Call, found: faults.Faults) -> None:
        if "loading" in found and call.received_ns - self._started_ns < found["loading"] * 1e9:
            refusal = error(503, "Loading model", "unavailable_error")
            refusal.fault = "loading"
            raise refusal

    def _models(self, _: Call) -> object:
        model = {
            "id": self._options.model,
            "object": "model",
            "created": self._created,
            "owned_by": "genbench-simulator",
            "root": self._options.model,
            "parent": None,
            "max_model_len": self._options.max_model_len,
        }
        return {"object": "list", "data": [model]}

    def _metrics(self, _: Call) -> object:
        return self._figures.text(self._options.model, self._batch.scheduler if self._batch else None).encode()

    def _tokenize(self, call: Call) -> object:
        body: dict[str, Any] = decode(call)
        check_model(body, self._options.model)
        if "messages" in body:
            texts = texts_of_messages(body["messages"])
            template = [1] * TEMPLATE_TOKENS
            ids = [token for text in texts for token in [*template, *token_ids(text)]] + template
            total = chat_tokens(texts)
        else:
            inputs = inputs_of(body.get("prompt"), "prompt")
            ids = [token for text in inputs for token in token_ids(text)]
            total = sum(map(count, inputs))
        return {"count": total, "max_model_len": self._options.max_model_len, "tokens": ids, "token_strs": None}

    def _clear(self, _: Call) -> object:
        self._truth.clear()
        return {"cleared": True}


def _route(path: str) -> str:
    """The route of a path, whatever prefix it stands behind: /any/v1/models is /v1/models, /any/health is /health."""
    start = path.find("/v1/")
    return path[start:] if start >= 0 else path[max(path.rfind("/"), 0) :]
