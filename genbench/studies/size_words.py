"""What `genbench size` says: the answer, then the arithmetic line by line, in plain ASCII."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 100


def held(row: Mapping[str, Any]) -> str:
    """What is on a GPU: 1 x 20B + 2 x 5B."""
    return " + ".join(f"{count} x {name}" for name, count in row["holds"].items())


def counted(count: float, what: str) -> str:
    """A number of things."""
    return f"{count:,.10g} {what}{'' if count == 1 else 's'}"


def sentences(document: Mapping[str, Any]) -> list[str]:
    """The answer, and what binds."""
    machine = document["machine"]
    kinds = " + ".join(f"{count} x {name}" for name, count in document["instances"].items())
    answer = f"{counted(document['gpus_packed'], 'GPU')} ({machine['gpu']}) in {counted(document['servers'], 'server')}"
    answer += f" for {counted(sum(document['instances'].values()), 'instance')}: {kinds}"
    if document["usd_per_month"] is not None:
        answer += f"; ${document['usd_per_month']:,.0f} a month"
    answer += "".join(f"; {text}" for text in _unsure(document))
    return [answer, *(f"{one['what']} binds: {one['why']}" for one in document["binds"])]


def _unsure(document: Mapping[str, Any]) -> Iterator[str]:
    """Why the answer of a search is not sure, and what its lower end asks for."""
    needs, lower = document["needs"], document["lower"]
    doubted = [one for one in needs if one["doubt"]]
    yield from (f"{one['name'] + ': ' if len(needs) > 1 else ''}{one['doubt']}" for one in doubted)
    if lower is None or (not doubted and lower["instances"] == document["instances"]):
        return
    if len(needs) == 1:
        where = f"at the lower end of its interval, {lower['at'][needs[0]['name']]}"
    else:
        where = f"at the lower ends of the intervals, {', '.join(f'{name} {at}' for name, at in lower['at'].items())}"
    said = f"{where}: {counted(sum(lower['instances'].values()), 'instance')}, {counted(lower['gpus_packed'], 'GPU')}"
    month = "" if lower["usd_per_month"] is None else f", ${lower['usd_per_month']:,.0f} a month"
    yield f"{said} in {counted(lower['servers'], 'server')}{month}"


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
    yield (
        "division",
        f"{document['total_gb']:.6g} / {room} = {share:.4g}: {counted(document['gpus_naive'], 'GPU')} at the least",
    )
    for row in document["layout"]:
        yield (
            "packed",
            f"{counted(row['gpus'], 'GPU')} with {held(row)}: {row['used_gb']:.4g} of {machine['usable_gb']:.4g} GB",
        )
    each = machine["per_server"]
    yield (
        "servers",
        f"{counted(document['gpus_packed'], 'GPU')}, {each} in a server: {counted(document['servers'], 'server')}",
    )
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
