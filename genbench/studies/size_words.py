"""What `genbench size` says: the answer, then the arithmetic line by line, in plain ASCII."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 100


def held(row: Mapping[str, Any]) -> str:
    """What is on a GPU: 1 x 20B + 2 x 5B."""
    return " + ".join(f"{count} x {name}" for name, count in row["holds"].items())


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def sentences(document: Mapping[str, Any]) -> list[str]:
    """The answer, and what binds."""
    machine = document["machine"]
    kinds = " + ".join(f"{count} x {name}" for name, count in document["instances"].items())
    answer = f"{counted(document['gpus_packed'], 'GPU')} ({machine['gpu']}) in {counted(document['servers'], 'server')}"
    answer += f" for {counted(sum(document['instances'].values()), 'instance')}: {kinds}"
    if document["usd_per_month"] is not None:
        answer += f"; ${document['usd_per_month']:,.0f} a month"
    return [answer, *(f"{one['what']} binds: {one['why']}" for one in document["binds"])]


def screen(document: Mapping[str, Any]) -> str:
    """The answer first, then every step that a reader can check."""
    lines = [line for text in document["sentences"] for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
    lines += [
        line
        for text in document["warnings"]
        for line in textwrap.wrap(f"- {text}", WIDTH, subsequent_indent="  ")
    ]  # fmt: skip
    lines.append("")
    for need in document["needs"]:
        lines += _steps(need["name"], list(_of_need(need)))
    lines += _steps("all", list(_of_all(document)))
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text.encode("ascii", "replace").decode("ascii")


def _of_need(need: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if need["source"]:
        yield "measured", need["source"]
    yield "instances", f"{need['instances_from']}, rounded up: {need['instances']}"
    yield "memory", f"{need['memory_gb']:.6g} GB an instance: {need['memory_from']}"
    if need["gpus"] > 1:
        each = need["memory_gb"] / need["gpus"]
        yield "GPUs", f"{need['gpus']} an instance, {each:.4g} GB on each"
    floor = need["decode_floor_ms"]
    if floor is not None:
        over = (
            f"; measured {need['tpot_ms']:.4g} ms, {need['tpot_over_floor']:.3g} times that" if need["tpot_ms"] else ""
        )
        yield "TPOT", f"at least {floor:.4g} ms: each token reads all weights from memory{over}"


def _of_all(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    machine = document["machine"]
    sums = " + ".join(f"{need['instances']} x {need['memory_gb']:.6g}" for need in document["needs"])
    yield "memory", f"{sums} = {document['total_gb']:.6g} GB"
    room = f"{machine['gpu_gb']:g} GB"
    if machine["headroom"]:
        room += f" x {100 * (1 - machine['headroom']):g} % = {machine['usable_gb']:.4g} GB"
    share = document["total_gb"] / machine["usable_gb"]
    yield "division", f"{document['total_gb']:.6g} / {room} = {share:.4g}: {document['gpus_naive']} GPUs at the least"
    for row in document["layout"]:
        yield (
            "packed",
            f"{counted(row['gpus'], 'GPU')} with {held(row)}: {row['used_gb']:.4g} of {machine['usable_gb']:.4g} GB",
        )
    each = machine["per_server"]
    yield "servers", f"{document['gpus_packed']} GPUs, {each} in a server: {counted(document['servers'], 'server')}"
    whole = document["gpus_in_servers"] * machine["gpu_gb"]
    yield "filled", f"{document['total_gb']:.6g} of {whole:,.10g} GB, {100 * document['memory_used']:.1f} %"
    if document["usd_per_month"] is not None:
        price = f"{document['servers']} x ${machine['price_per_hour']:g} x {machine['hours']:g} h"
        yield "a month", f"{price} = ${document['usd_per_month']:,.0f} ({machine['price_from']})"


def _steps(title: str, steps: list[tuple[str, str]]) -> Iterator[str]:
    yield f"{title}:"
    for name, text in steps:
        first, *more = textwrap.wrap(text, WIDTH - 14)
        yield f"  {name:<10}  {first}"
        yield from (f"  {'':<10}  {line}" for line in more)
