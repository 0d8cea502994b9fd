import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.index import choice
from glocal.index.choice import RULES, Rules, choose, machine_memory

GIB = 2**30


def test_below_a_hundred_thousand_pictures_every_one_is_compared():
    assert choose(99_999, 512, 24 * GIB) is None
    assert choose(100_000, 512, 24 * GIB) is not None


def test_types_go_by_the_number_of_pictures():
    assert choose(100_000, 512, 24 * GIB).factory == "IDMap,RR,IVF256,PQ4fs,Refine(SQ8)"
    assert choose(1_000_000, 512, 24 * GIB).factory == "IDMap,RR,IVF1024,PQ4fs,Refine(SQ8)"
    assert choose(100_000, 512, 24 * GIB, Rules(codes_from=100_001)).factory == "IVF1024,SQ8"


def test_a_million_descriptors_of_512_numbers_fit_in_seven_hundred_megabytes():
    # At most 128 bytes of codes, 512 of the refinement, 8 for each of two numbers; 1024 centroids of 2048 bytes.
    assert choose(1_000_000, 512, 24 * GIB).num_bytes == 1_000_000 * (128 + 8 + 512 + 8) + 1024 * 2048 < 700e6


def test_where_memory_is_short_the_codes_are_short():
    rich = choose(1_000_000, 512, 24 * GIB)
    assert choose(1_000_000, 512, 4 * rich.num_bytes) == rich
    poor = choose(1_000_000, 512, 4 * rich.num_bytes - 1)
    assert poor.factory == "IVF4096,PQ256x4fs"
    assert choose(1_000_000, 512, 4 * poor.num_bytes - 1) is None


def test_bare_codes_of_two_numbers_need_an_even_length():
    rich = choose(1_000_000, 511, 24 * GIB)
    assert rich.rotated
    assert choose(1_000_000, 511, 4 * rich.num_bytes - 1) is None


@given(num=st.integers(1, 10**8), dim=st.integers(1, 4096), memory=st.integers(0, 2**40), least=st.integers(1, 10**6))
def test_what_is_chosen_fits_and_has_a_fitting_number_of_lists(num, dim, memory, least):
    layout = choose(num, dim, memory, Rules(exact_below=least))
    if layout is None:
        lists = min(num, 2 ** round(math.log2(4 * math.sqrt(num))))
        assert num < least or dim % 2 or 4 * (num * (math.ceil(dim / 4) + 8) + 4 * dim * lists) > memory
        return
    assert layout.num_bytes * 4 <= memory
    assert layout.num_lists <= num
    ideal = (1 if layout.rotated else 4) * math.sqrt(num)
    assert layout.num_lists == num or abs(math.log2(layout.num_lists / ideal)) <= 0.5 + 1e-9
    assert f"IVF{layout.num_lists}," in layout.factory


def test_a_control_group_can_allow_less_memory_than_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "CGROUP_LIMIT", tmp_path / "memory.max")
    physical = machine_memory()
    assert physical > 2**20
    for text, expected in (("max\n", physical), ("1048576\n", 2**20), (f"{physical * 2}\n", physical)):
        choice.CGROUP_LIMIT.write_text(text)
        assert machine_memory() == expected


@pytest.mark.parametrize("name", ["exact_below", "codes_from", "max_newer"])
def test_rules_are_positive(name):
    assert getattr(RULES, name) > 0
