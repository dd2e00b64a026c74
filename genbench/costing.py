"""What tokens cost: a price per hour and a throughput in, dollars out. Pure arithmetic, standard library only.

Rules
- A price is of everything the throughput was measured on, in dollars per hour; a throughput is in tokens per second.
- All of the price is put on the output tokens, unless it is `split`.
- Zero, negative or infinite is no price and no throughput: ValueError, in words that a user can be shown.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HOUR_S = 3600.0
MILLION = 1e6
INPUT_RATIO = 4.0  # an output token counts as so many input tokens (source of the rule: see `split`)
LOW = 0.9  # of the next lowest dollars per GPU-hour of the same GPU: below that a price is doubted
SAME = 0.005  # two prices that differ by less are the same one, rounded
NEAR = 0.05  # and one that differs from the list by less is not doubted: regions differ


@dataclass(frozen=True, slots=True)
class Cost:
    """What a load costs; what cannot be known is None. `usd_per_1m_output` has the whole price on output tokens."""

    price_per_hour: float
    output_tps: float
    gpus: int | None
    usd_per_1m_output: float
    minutes_per_1m: float
    tokens_per_usd: float
    usd_per_gpu_hour: float | None
    output_tps_per_gpu: float | None


def positive(name: str, value: float) -> float:
    """The value. Raises ValueError where it is no number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a number above zero")
    return value


def cost(price_per_hour: float, output_tps: float, gpus: int | None = None) -> Cost:
    """Dollars and minutes for a million output tokens, and what follows from them."""
    positive("a price", price_per_hour)
    positive("a throughput", output_tps)
    if gpus is not None and gpus < 1:
        raise ValueError("a number of GPUs must be a whole number from 1 on")
    hourly = output_tps * HOUR_S
    return Cost(
        price_per_hour=price_per_hour,
        output_tps=output_tps,
        gpus=gpus,
        usd_per_1m_output=price_per_hour / hourly * MILLION,
        minutes_per_1m=MILLION / (output_tps * 60),
        tokens_per_usd=hourly / price_per_hour,
        usd_per_gpu_hour=None if gpus is None else price_per_hour / gpus,
        output_tps_per_gpu=None if gpus is None else output_tps / gpus,
    )


def split(
    price_per_hour: float, input_tps: float, output_tps: float, ratio: float = INPUT_RATIO
) -> tuple[float, float]:
    """(dollars per million input tokens, per million output tokens) where an output token counts as `ratio` inputs.

    The two recombine to the price: in x $in + out x $out = price. `output_tps` may be 0 (embeddings). The rule is that
    of Google's GKE inference recommender: $out = ($/s) / (in / ratio + out), $in = $out / ratio.
    """
    positive("a price", price_per_hour)
    positive("a ratio", ratio)
    for one in (input_tps, output_tps):
        if not math.isfinite(one) or one < 0:
            raise ValueError("a throughput must not be negative")
    positive("a throughput", input_tps + output_tps)
    usd_out = price_per_hour / HOUR_S / (input_tps / ratio + output_tps) * MILLION
    return usd_out / ratio, usd_out


@dataclass(frozen=True, slots=True)
class Value:
    """One thing held against another: `per_usd` is its throughput for a dollar, in those of the other."""

    throughput: float
    price: float
    per_usd: float


def value(one: Cost, base: Cost) -> Value:
    """How much more `one` does, costs, and does for a dollar than `base`."""
    throughput, price = one.output_tps / base.output_tps, one.price_per_hour / base.price_per_hour
    return Value(throughput, price, throughput / price)


# -- prices that cannot be right ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """An instance with its list prices, the present one first; `gpu` is the name of what it has `gpus` of."""

    name: str
    gpu: str
    gpus: int
    prices: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Priced:
    """A price as somebody gave it: of which instance, or of how many of which GPU, as far as that is known."""

    name: str
    price_per_hour: float
    gpus: int | None = None
    gpu: str = ""
    instance: str = ""


def doubts(rows: Sequence[Priced], known: Sequence[Listed] = ()) -> list[tuple[str, str]]:
    """(name, sentence) of each price that does not fit its instance or its number of GPUs.

    A price is doubted where it is the list price of an instance with another number of the same GPU, where the list
    has another price for its own instance, or where a GPU of it is more than 10 % cheaper than one of any other row.
    A discount is no fault: the sentences ask, they do not refuse.
    """
    return [(row.name, said) for row in rows for said in _doubts(row, rows, known)]


def _doubts(row: Priced, rows: Sequence[Priced], known: Sequence[Listed]) -> Iterator[str]:
    own = next((one for one in known if one.name == row.instance), None)
    gpus = row.gpus if row.gpus is not None else own.gpus if own else None
    if own is not None and gpus != own.gpus:
        yield f"{own.name} has {own.gpus} x {own.gpu}, not {gpus}"
    said = f"${row.price_per_hour:g} per hour"
    listed = _listed(row, own, known)
    if own is not None and own.prices and not any(abs(row.price_per_hour / one - 1) <= NEAR for one in own.prices):
        of_other = f"; that is the list price of {listed.name} ({listed.gpus} x {listed.gpu})" if listed else ""
        yield f"{said} is not the list price of {own.name} ({gpus} x {own.gpu}), ${own.prices[0]:g}{of_other}"
    elif own is None and listed is not None and gpus is not None:
        yield f"{said} for {gpus} x {listed.gpu} is the list price of {listed.name}, which has {listed.gpus}"
    each = _each(row)
    others = [one for one in map(_each, (other for other in rows if other.gpu == row.gpu and other is not row)) if one]
    apart = [one for one in others if each and abs(one / each - 1) > SAME]
    if row.gpu and each and apart and each < LOW * min(apart):
        yield f"${each:.4g} for an hour of one {row.gpu} is {100 * (1 - each / min(apart)):.0f} % below any other row's"


def _listed(row: Priced, own: Listed | None, known: Sequence[Listed]) -> Listed | None:
    """The instance with another number of the same GPU that has exactly this list price."""
    gpu, gpus = (own.gpu, own.gpus) if own else (row.gpu, row.gpus)
    same = [one for one in known if one.gpu == gpu]
    found = [one for one in same if any(abs(row.price_per_hour / price - 1) <= SAME for price in one.prices)]
    return None if any(one.gpus == gpus for one in found) else next(iter(found), None)


def _each(row: Priced) -> float | None:
    return row.price_per_hour / row.gpus if row.gpus else None
