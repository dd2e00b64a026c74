"""The loop one writes oneself: aiohttp, one task per stream, a clock reading and `json.loads` for every event.

`--fast` swaps in uvloop and orjson. `--kind embeddings` posts small embeddings requests and decodes the answers.
Writes one JSON object: requests with id, sent_ns and the perf_counter_ns of each content event.
"""

import argparse
import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiohttp

now_ns = time.perf_counter_ns


async def stream(
    session: aiohttp.ClientSession, given: argparse.Namespace, number: int, loads: Callable[[bytes], Any]
) -> dict[str, Any]:
    """One streamed chat request."""
    body = {
        "model": given.model,
        "messages": [{"role": "user", "content": f"{number} " + "word " * 31}],
        "max_tokens": given.tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    row: dict[str, Any] = {"id": f"loop-{number}", "sent_ns": now_ns(), "stamps": []}
    headers = {"x-request-id": row["id"]}
    async with session.post(given.url + "/v1/chat/completions", json=body, headers=headers) as answer:
        async for line in answer.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            t_ns = now_ns()
            message = loads(line[6:])
            if message["choices"] and message["choices"][0]["delta"].get("content"):
                row["stamps"].append(t_ns)
    return row


async def embed(
    session: aiohttp.ClientSession, given: argparse.Namespace, number: int, loads: Callable[[bytes], Any]
) -> dict[str, Any]:
    """One small embeddings request."""
    body = {"model": given.model, "input": [f"{number} word word word"]}
    sent_ns = now_ns()
    async with session.post(given.url + "/v1/embeddings", json=body) as answer:
        message = loads(await answer.read())
    assert message["data"][0]["embedding"]
    return {"id": f"loop-{number}", "sent_ns": sent_ns, "stamps": [now_ns()]}


async def main(given: argparse.Namespace) -> list[dict[str, Any]]:
    """`streams` tasks, each taking the next number until there is none."""
    if given.fast:
        import orjson

        loads: Callable[[bytes], Any] = orjson.loads
    else:
        loads = json.loads
    one = stream if given.kind == "chat" else embed
    context = ssl.create_default_context(cafile=given.ca) if given.ca else True
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    rows: list[dict[str, Any]] = []
    numbers = iter(range(given.requests))

    async def worker(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            row = await one(session, given, number, loads)
            rows.append(row)

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(worker(session) for _ in range(given.streams)))
    return rows


def arguments() -> argparse.Namespace:
    """What a client of this folder is told."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--kind", choices=("chat", "embeddings"), default="chat")
    parser.add_argument("--ca", default="")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--out", default="")
    return parser.parse_args()


if __name__ == "__main__":
    told = arguments()
    if told.fast:
        import uvloop

        found = uvloop.run(main(told))
    else:
        found = asyncio.run(main(told))
    if told.out:
        with open(told.out, "w") as file:
            json.dump({"requests": found}, file)
