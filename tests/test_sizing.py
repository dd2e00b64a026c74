"""How many GPUs, against the published tables; properties of packing.

Sources: Dell, "AI in the Enterprise: Inferencing" design guide (Tables 9 to 11); Google, "LLM serving on GKE".
"""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genbench import hardware, sizing
from genbench.sizing import Kind

# Table 9, GB with one request: model, billions of parameters, GB
TABLE_9 = [("NeMo-345M", 0.345, 3.1), ("NeMo-1.3B", 1.3, 4.1), ("NeMo-5B", 5, 12.41), ("NeMo-20B", 20, 42.44),
           ("BLOOM-7B", 7, 16.63), ("Llama-2-7b", 7, 14.2)]  # fmt: skip
SMALL, LARGE = Kind("5B", 16, 12.41), Kind("20B", 8, 44.76)  # Table 10: GB at 4 and at 16 concurrent requests


def test_memory_of_the_dell_guide_is_two_bytes_a_parameter_and_an_engine() -> None:
    """2 bytes a parameter and 2 GB are within 0.7 GB of each NeMo row; the guide's 2.1 GB per billion is 77 % short
    of its smallest. BLOOM needs 0.6 GB more than that, Llama 1.8 GB less: other engines.
    """
    ours = {name: sizing.weights_gb(billions) + sizing.RUNTIME_GB - gb for name, billions, gb in TABLE_9}
    assert all(abs(off) < 0.7 for name, off in ours.items() if name != "Llama-2-7b")
    theirs = {name: round(100 * (sizing.DELL_GB_PER_BILLION * billions / gb - 1)) for name, billions, gb in TABLE_9}
    assert theirs == {
        "NeMo-345M": -77, "NeMo-1.3B": -33, "NeMo-5B": -15, "NeMo-20B": -1, "BLOOM-7B": -12, "Llama-2-7b": 4,
    }  # fmt: skip


def test_the_dell_example() -> None:
    """64 users at 4 each and 128 at 16 are 16 and 8 instances of 556.64 GB ("about 560"), 8 GPUs, 2 servers."""
    assert sizing.at_least(64, 4) == 16
    assert sizing.at_least(128, 16) == 8
    found = sizing.pack([SMALL, LARGE], 80, 4)
    assert round(found.total_gb, 2) == 556.64
    assert (found.naive_gpus, found.gpus, len(found.servers)) == (7, 8, 2)
    assert Counter(Counter(gpu).most_common()[0] for server in found.servers for gpu in server) == {("5B", 2): 8}
    assert found.total_gb / 640 == pytest.approx(0.870, abs=5e-4)


@pytest.mark.parametrize(
    ("usable", "naive", "packed", "servers"), [(80, 7, 8, 2), (72, 8, 8, 2), (64, 9, 10, 3), (94, 6, 7, 2)]
)
def test_the_dell_example_on_other_gpus(usable: float, naive: int, packed: int, servers: int) -> None:
    """All of 80 GB, 90 % and 80 % of them, and the 94 GB of an H100 NVL; servers of 4."""
    found = sizing.pack([SMALL, LARGE], usable, 4)
    assert (found.naive_gpus, found.gpus, len(found.servers)) == (naive, packed, servers)


def test_the_dell_example_with_its_other_memories() -> None:
    """The guide's 560 GB is with Table 10's memory at the optimum concurrency, not Table 9's with one request (538.08),
    nor its 2.1 GB per billion (504): memory has to be that at the load.
    """
    alone = sizing.pack([SMALL, Kind("20B", 8, 42.44)], 80, 4)
    rule = sizing.pack([Kind("5B", 16, 10.5), Kind("20B", 8, 42.0)], 80, 4)
    assert (round(alone.total_gb, 2), round(rule.total_gb, 2)) == (538.08, 504.0)


@pytest.mark.parametrize(
    ("billions", "sizes"),
    [
        (2, (4, 2, 1)), (7, (14, 7, 3.5)), (8, (16, 8, 4)), (70, (140, 70, 35)), (40, (80, 40, 20)),
        (180, (360, 180, 90)), (176, (352, 176, 88)),
    ],
)  # fmt: skip
def test_weights_of_the_google_table(billions: float, sizes: tuple[float, ...]) -> None:
    """16, 8 and 4 bits. The article prints 14 GB for Falcon-7b in 8 bits, which is twice the 7 of its own rule."""
    assert tuple(sizing.weights_gb(billions, bits) for bits in ("16", "8", "4")) == sizes


def test_14_gb_are_not_14_gib() -> None:
    """The Google article calls 14e9 bytes "14 GiB"; they are 13.04."""
    assert round(sizing.weights_gb(7) * sizing.GB / sizing.GIB, 4) == 13.0385


def test_weights_in_the_red_hat_table() -> None:
    """70B in 16 bits takes 72.9 % of 8 A10G and 43.75 % of 8 A100-40."""
    assert sizing.weights_gb(70) / (8 * 24) == pytest.approx(0.729, abs=5e-4)
    assert sizing.weights_gb(70) / (8 * 40) == 0.4375


@pytest.mark.parametrize(
    ("model", "billions", "gpus"),
    [
        ("Gemma-7b", 7, (1, 1, 1)), ("Llama3-8b", 8, (1, 1, 1)), ("Llama3-70b", 70, (8, 5, 3)),
        ("Falcon-40b", 40, (5, 3, 2)), ("Falcon-180b", 180, (19, 12, 6)), ("BLOOM-176b", 176, (19, 11, 6)),
    ],
)  # fmt: skip
def test_gpus_at_80_percent_for_weights(model: str, billions: float, gpus: tuple[int, ...]) -> None:
    """The rule of the Google article: L4 (24 GB, so 19.2), A100-40, H100-80."""
    weights = sizing.weights_gb(billions)
    assert tuple(sizing.gpus_to_hold(weights, gb, 0.8) for gb in (24, 40, 80)) == gpus
    for count, gb in zip(gpus, (24, 40, 80), strict=True):
        whole = sizing.gpus_to_hold(weights, gb, 0.8, powers=True)
        assert whole >= count
        assert whole.bit_count() == 1
        assert whole < 2 * count


def test_the_catalogue_has_the_figures_of_the_google_article() -> None:
    """TFLOPS of H100 and L4 are printed with structured sparsity, the A100's without: only dense ones compare."""
    gpus = hardware.read().gpus
    assert [(gpus[name].memory_gb, gpus[name].tflops) for name in ("H100-80", "A100-80", "A100-40", "L4")] == [
        (80, 1979 / 2), (80, 312), (40, 312), (24, 242 / 2),
    ]  # fmt: skip
    assert [gpus[name].bandwidth_gbs for name in ("H100-80", "L4")] == [3350, 300]
    assert gpus["A100-40"].bandwidth_gbs == pytest.approx(1600, rel=0.03)  # the article rounds 1555
    assert gpus["A100-80"].bandwidth_gbs == pytest.approx(1900, rel=0.075)  # and has the PCIe card's 1935 here


def test_decode_is_bound_by_memory() -> None:
    """7B in 16 bits: 14 GB / 300 GB/s = 46.7 ms on an L4, 14 / 3350 = 4.18 ms on an H100."""
    assert sizing.decode_floor_ms(14, 300) == pytest.approx(46.67, abs=0.005)
    assert sizing.decode_floor_ms(14, 3350) == pytest.approx(4.179, abs=0.0005)
    assert sizing.decode_floor_ms(140, 3350, 4) == pytest.approx(10.45, abs=0.005)


def test_cache_of_a_token() -> None:
    """Two vectors in each layer and head: Llama-2-7b 2 x 32 x 32 x 128 x 2 bytes = 512 KiB, Llama-3-8b a quarter."""
    assert sizing.kv_bytes_per_token(32, 32, 128) == 512 * 1024
    assert sizing.kv_bytes_per_token(32, 8, 128) == 128 * 1024
    assert sizing.kv_bytes_per_token(32, 8, 128, "fp8") == 64 * 1024


def test_instances_of_several_gpus_stay_in_one_server() -> None:
    """Three of 3 GPUs on servers of 4 need three servers, though 9 GPUs would be in two and a bit; ones fill up."""
    found = sizing.pack([Kind("large", 3, 120, gpus=3), Kind("small", 5, 10, share=2)], 40, 4)
    assert found.gpus == 9 + 3
    assert len(found.servers) == 3
    for server in found.servers:
        assert len(server) == 4
        assert sum("large" in gpu for gpu in server) == 3


def test_a_share_of_one_is_a_gpu_of_its_own() -> None:
    assert sizing.pack([Kind("a", 3, 5, share=1)], 80, 8).gpus == 3
    assert sizing.pack([Kind("a", 3, 5, share=1), Kind("b", 4, 4)], 80, 8).gpus == 4
    assert sizing.pack([Kind("a", 7, 5, share=2)], 80, 8).gpus == 4


def test_decimals_that_add_up_to_a_gpu_fit_it() -> None:
    """0.1 + 0.2 is above 0.3 in binary."""
    assert sizing.pack([Kind("a", 1, 0.1), Kind("b", 1, 0.2)], 0.3, 1).gpus == 1
    assert sizing.at_least(0.3, 0.1) == 3


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Kind("big", 1, 30), "big needs 30 GB on one GPU, and 24 GB are usable there"),
        (Kind("big", 1, 100, gpus=2), "big needs 50 GB on each of 2 GPUs, and 24 GB are usable there"),
        (Kind("wide", 1, 40, gpus=8), "wide needs 8 GPUs in one server, and a server has 4"),
    ],
)
def test_an_instance_that_fits_nowhere(kind: Kind, says: str) -> None:
    with pytest.raises(sizing.Unfit, match=says):
        sizing.pack([kind], 24, 4)


# -- properties --------------------------------------------------------------------------------------------------------

GPU_GB = 80
MEMORY = st.integers(1, 8000).map(lambda hundredths: hundredths / 100)
ALONE = st.builds(
    Kind, st.sampled_from(["a", "b", "c"]), st.integers(1, 12), MEMORY, share=st.sampled_from([None, 1, 2, 5])
)
WIDE = st.builds(Kind, st.sampled_from(["x", "y"]), st.integers(1, 5), MEMORY, gpus=st.integers(2, 8))
KINDS = st.lists(ALONE | WIDE, min_size=1, max_size=5, unique_by=lambda kind: kind.name)


@given(kinds=KINDS, per_server=st.integers(8, 10))
def test_every_instance_is_placed_once_and_nothing_is_over_full(kinds: list[Kind], per_server: int) -> None:
    found = sizing.pack(kinds, GPU_GB, per_server)
    by_name = {kind.name: kind for kind in kinds}
    gpus = [gpu for server in found.servers for gpu in server]
    assert all(len(server) <= per_server for server in found.servers)
    assert len(gpus) == found.gpus
    placed = Counter(name for gpu in gpus for name in gpu)
    assert placed == {kind.name: kind.count * kind.gpus for kind in kinds}
    for gpu in gpus:
        assert sum(by_name[name].memory_gb / by_name[name].gpus for name in gpu) <= GPU_GB * (1 + 1e-6)
        assert len(gpu) <= min(by_name[name].share or math.inf for name in gpu)
        assert len(gpu) == 1 or all(by_name[name].gpus == 1 for name in gpu)


@given(kinds=KINDS, per_server=st.integers(8, 10))
def test_no_fewer_than_the_lower_bounds_nor_many_more(kinds: list[Kind], per_server: int) -> None:
    found = sizing.pack(kinds, GPU_GB, per_server)
    wide = sum(kind.count * kind.gpus for kind in kinds if kind.gpus > 1)
    alone = [kind for kind in kinds if kind.gpus == 1]
    halves = sum(kind.count for kind in alone if 2 * kind.memory_gb > GPU_GB * (1 + 1e-6))
    assert found.gpus >= max(found.naive_gpus, wide + halves)
    assert len(found.servers) >= math.ceil(found.gpus / per_server)
    if all(kind.share is None for kind in alone):  # first fit leaves at most one GPU half empty
        total = sum(kind.count * kind.memory_gb for kind in alone)
        assert found.gpus - wide <= 2 * total / GPU_GB + 1 + 1e-6


@given(one=MEMORY, other=MEMORY, counts=st.tuples(st.integers(1, 25), st.integers(1, 25)), more=st.integers(1, 5))
def test_more_instances_of_two_sizes_never_need_less(
    one: float, other: float, counts: tuple[int, int], more: int
) -> None:
    """With three sizes first-fit decreasing is not monotone; with two it is, and so it is in the smallest of many."""
    before = sizing.pack([Kind("a", counts[0], one), Kind("b", counts[1], other)], GPU_GB, 8)
    for grown in ((counts[0] + more, counts[1]), (counts[0], counts[1] + more)):
        after = sizing.pack([Kind("a", grown[0], one), Kind("b", grown[1], other)], GPU_GB, 8)
        assert after.gpus >= before.gpus
        assert len(after.servers) >= len(before.servers)


@given(
    kinds=st.lists(st.builds(Kind, st.just("n"), st.integers(1, 12), MEMORY), min_size=1, max_size=5),
    more=st.integers(1, 5),
)
def test_more_of_the_smallest_never_need_less(kinds: list[Kind], more: int) -> None:
    least = Kind("least", more, min(kind.memory_gb for kind in kinds))
    assert sizing.pack([*kinds, least], GPU_GB, 8).gpus >= sizing.pack(kinds, GPU_GB, 8).gpus


@given(load=st.floats(0.01, 1e6), each=st.floats(0.01, 1e4), more=st.floats(0, 1e4))
def test_more_load_never_needs_fewer_instances(load: float, each: float, more: float) -> None:
    found = sizing.at_least(load, each)
    assert found * each >= load * (1 - 1e-6)
    assert sizing.at_least(load + more, each) >= found >= sizing.at_least(load, each + more)
