"""What an SDK user writes: openai's AsyncOpenAI, one task per stream, a clock reading for every chunk.

Same arguments and output as aiohttp_loop.py.
"""

import asyncio
import json
import ssl
import time
from typing import Any

import openai
from aiohttp_loop import arguments

now_ns = time.perf_counter_ns


async def main(given: Any) -> list[dict[str, Any]]:
    """`streams` tasks, each taking the next number until there is none."""
    context = ssl.create_default_context(cafile=given.ca) if given.ca else True
    http = openai.DefaultAsyncHttpxClient(verify=context)
    client = openai.AsyncOpenAI(base_url=given.url + "/v1", api_key="none", http_client=http, max_retries=0)
    rows: list[dict[str, Any]] = []
    numbers = iter(range(given.requests))

    async def worker() -> None:
        for number in numbers:
            row: dict[str, Any] = {"id": f"loop-{number}", "sent_ns": now_ns(), "stamps": []}
            answer = await client.chat.completions.create(
                model=given.model,
                messages=[{"role": "user", "content": f"{number} " + "word " * 31}],
                max_tokens=given.tokens,
                stream=True,
                stream_options={"include_usage": True},
                extra_headers={"x-request-id": row["id"]},
            )
            async for chunk in answer:
                t_ns = now_ns()
                if chunk.choices and chunk.choices[0].delta.content:
                    row["stamps"].append(t_ns)
            rows.append(row)

    await asyncio.gather(*(worker() for _ in range(given.streams)))
    await client.close()
    return rows


if __name__ == "__main__":
    told = arguments()
    found = asyncio.run(main(told))
    if told.out:
        with open(told.out, "w") as file:
            json.dump({"requests": found}, file)
