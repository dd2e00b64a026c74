"""A run's watch over its servers and GPUs: what to ask, the process that asks, and what Prometheus knows afterwards.

What the user named has to be there, and is looked at before any load is sent; `<url>/metrics`, which nobody named, is
taken where it answers. After that nothing here can stop a run: what goes wrong is a sentence.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from genbench.clock import now_ns
from genbench.errors import ConfigError
from genbench.options import RunConfig
from genbench.telemetry import log, query
from genbench.telemetry.beside import EVERY_S, NAME, Beside
from genbench.telemetry.source import DEFAULT_PATHS, Source, Unavailable, parsed, unix_path
from genbench.transport.address import parse_headers, parse_url, proxy_of

SERVER, GPU, PROMETHEUS = "--server-metrics", "--gpu-telemetry", "--prometheus"
OFF, ON = ("off", "false", "no"), ("on", "true", "yes")  # YAML makes booleans of them
BY_DEFAULT = True


class Observed:
    """Watches one run: `look` before the load, `begin` with it, `end` after it."""

    def __init__(self, config: RunConfig) -> None:
        """Starts the process at once, so that it has loaded what it needs in time. Raises ConfigError."""
        self._config = config
        wanted = config.telemetry
        words = [text.strip().lower() for text in wanted.server_metrics]
        off, self._insist = bool(set(words) & set(OFF)), bool(set(words) & set(ON))
        named = [text for text, word in zip(wanted.server_metrics, words, strict=True) if word not in (*OFF, *ON)]
        if off and (named or self._insist):
            raise ConfigError(f"{SERVER} off goes with no other {SERVER}; leave one of them out")
        self._named = [
            *(Source(parsed(text, SERVER), "server", SERVER) for text in named),
            *(Source(parsed(text, GPU), "gpu", GPU) for text in wanted.gpu_telemetry),
        ]
        self._prometheus = [
            Source(parsed(text, PROMETHEUS, "/"), "prometheus", PROMETHEUS) for text in wanted.prometheus
        ]
        self._default = not off and (self._insist or (BY_DEFAULT and not named))  # whether <url>/metrics is asked
        self._beside = Beside() if self._default or self._named else None
        self._folder: Path | None = None
        self._span_ns = (0, 0)

    def look(self, urls: Sequence[str], path: str) -> None:
        """Ask everybody once; `urls` are the run's servers, `path` what their requests go to.

        Raises ConfigError where somebody who was named is not there.
        """
        own = Own(self._config, urls, path)
        self._prometheus = [own.with_keys(source) for source in self._prometheus]
        for source in self._prometheus:
            query.checked(source)
        named = [own.with_keys(source) for source in self._named]
        if self._default:
            named += [own.default(url, insist=self._insist) for url in urls if self._insist or not own.proxied(url)]
        if self._beside is None or not named:
            self.close()
            return
        answers = self._beside.ask(named, EVERY_S)
        for source, answer in zip(named, answers, strict=True):
            if source.asked and answer.get("error"):
                self.close()
                raise ConfigError(f"{_where(source)}: {answer['error']}; {_fix(source)}")
        if all(answer.get("error") for answer in answers):
            self.close()

    def begin(self, folder: Path) -> None:
        """Scrape from now on; rows go into the run's folder."""
        self._folder = folder
        self._span_ns = (now_ns(), now_ns())
        if self._beside is not None:
            self._beside.begin(folder)

    def close(self) -> None:
        """One last scrape. Safe to be called again."""
        self._span_ns = (self._span_ns[0], now_ns())
        if self._beside is not None:
            self._beside.end()
            self._beside = None

    def past(self, zero_unix_ns: int) -> Iterator[str]:
        """Add what Prometheus scraped meanwhile to the rows; yields a sentence for each that has nothing to say."""
        if self._folder is None:
            return
        for source in self._prometheus:
            number = len(log.read(self._folder))
            try:
                rows = list(query.rows(source, number, *self._span_ns, zero_unix_ns))
            except Exception as error:  # of an answer that nobody thought of, too: the run is measured
                why = str(error) if isinstance(error, Unavailable) else "its answer is not Prometheus's"
                yield f"{source.shown} told nothing of the run: {why}"
                continue
            if not rows:
                yield f"{source.shown} has nothing of an engine or a GPU from the time of the run"
            with (self._folder / NAME).open("ab") as file:
                file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))


class Own:
    """The run's own servers: their hosts are told the run's key and headers, nobody else is."""

    def __init__(self, config: RunConfig, urls: Sequence[str], path: str) -> None:
        target = config.target
        extra = {k: v for k, v in parse_headers(target.header).items() if k.lower() not in ("host", "content-type")}
        key = {"Authorization": f"Bearer {target.api_key}"} if target.api_key else {}
        self._keys: Mapping[str, str] = extra if any(k.lower() == "authorization" for k in extra) else key | extra
        self._target = target
        self._path = path
        self._hosts = {one.host: one.scheme for one in (parse_url(url, path) for url in urls)}

    def with_keys(self, source: Source) -> Source:
        """The source with what its host may know."""
        parts = urlsplit(source.url)
        scheme = self._hosts.get(str(parts.hostname))
        if scheme is None or (scheme == "https" and parts.scheme == "http"):
            return source
        return replace(source, headers=self._keys, ca_cert=self._target.ca_cert, insecure=self._target.insecure_tls)

    def default(self, url: str, *, insist: bool) -> Source:
        """Where a server of the run has its own metrics, as engines have it."""
        one = parse_url(url, self._path)
        made = Source(
            f"{one.scheme}://{one.netloc}{one.path(DEFAULT_PATHS[0])}",
            "server",
            SERVER if insist else "",
            tuple(one.path(path) for path in DEFAULT_PATHS),
            socket=unix_path(url),
        )
        return self.with_keys(made)

    def proxied(self, url: str) -> bool:
        """Whether the environment names a proxy for a server: it may not be there for a direct question."""
        return bool(proxy_of(parse_url(url, self._path)))


def _where(source: Source) -> str:
    return f"{source.option} {source.shown}"


def _fix(source: Source) -> str:
    if source.role == "gpu":
        return "give the address of a DCGM exporter, like http://localhost:9400"
    return "give the address of the server's metrics, or --server-metrics off"
