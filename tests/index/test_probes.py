import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.index.choice import Layout, Setting
from glocal.index.probes import Probes, num_candidates, tune
from tests.index.made_up import clustered


def naive_recall(vectors, numbers, probes, found, count):
    """Shares by a full sort of every similarity, one probe after the other."""
    shares = []
    for probe, candidates in zip(probes, found, strict=True):
        others = [n for n in numbers if n != probe]
        at = {n: i for i, n in enumerate(numbers)}
        ranked = sorted(others, key=lambda n: -float(vectors[at[probe]] @ vectors[at[n]]))[:count]
        shares.append(sum(n in set(candidates.tolist()) for n in ranked) / len(ranked))
    return shares


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31), num=st.integers(2, 150), block=st.integers(1, 160), count=st.sampled_from([1, 10, 100])
)
def test_shares_are_those_of_a_full_sort_however_the_collection_is_cut(seed, num, block, count):
    rng = np.random.default_rng(seed)
    vectors = clustered(seed, num, 8)
    numbers = np.sort(rng.choice(10 * num, num, replace=False)) + 1
    chosen = np.sort(rng.choice(num, min(5, num), replace=False))
    probes = Probes(numbers[chosen], vectors[chosen])
    for start in range(0, num, block):
        probes.compare(numbers[start : start + block], vectors[start : start + block])
    found = rng.choice(np.append(numbers, -1), (len(chosen), 20))
    assert np.allclose(
        probes.recall(found, count), naive_recall(vectors, numbers.tolist(), numbers[chosen].tolist(), found, count)
    )


class FakeLists:
    """Finds the first `nprobe` of a hundred in `most` lists, if it looks wide enough."""

    def __init__(self, nearest, most, refine=0):
        self.nearest, self.most, self.refine, self.asked = nearest, most, refine, []

    def __len__(self):
        return 100_000

    def candidates(self, queries, count, nprobe, refine):
        self.asked.append((count, nprobe, refine))
        seen = 100 * min(nprobe, self.most) // self.most if refine >= self.refine else 50
        return np.where(np.arange(self.nearest.shape[1]) < seen, self.nearest, -1)


def hundred_neighbours():
    vectors = clustered(1, 300, 8)
    numbers = np.arange(1, 301)
    probes = Probes(numbers[:20], vectors[:20])
    probes.compare(numbers, vectors)
    similarities = vectors[:20] @ vectors.T
    similarities[np.arange(20), np.arange(20)] = -2
    return probes, numbers[np.argsort(-similarities, axis=1)[:, :100]]


def layout(*settings):
    return Layout("IVF1024,SQ8", 1024, 1, settings)


def test_the_fewest_lists_that_find_enough_are_found_to_a_sixteenth():
    probes, nearest = hundred_neighbours()
    for most in (1, 7, 64, 100, 1000):
        tuned = tune(FakeLists(nearest, most), probes, layout(Setting(1.5)), lambda: None)
        least = -(-98 * most // 100)
        assert least <= tuned.nprobe <= max(least + 1, least * 17 / 16 + 1)
        assert 0.98 <= tuned.recall_100 <= 1


def test_a_wider_setting_is_taken_if_the_narrow_one_cannot_find_enough():
    probes, nearest = hundred_neighbours()
    narrow, wide = Setting(1.1, 4), Setting(1.5, 16)
    assert tune(FakeLists(nearest, 10, refine=4), probes, layout(narrow, wide), lambda: None).setting == narrow
    assert tune(FakeLists(nearest, 10, refine=16), probes, layout(narrow, wide), lambda: None).setting == wide


def test_of_two_settings_that_find_enough_the_one_with_less_work_is_taken():
    probes, nearest = hundred_neighbours()
    narrow, wide = Setting(1.0, 1), Setting(1.0, 2)

    class Wide(FakeLists):
        def candidates(self, queries, count, nprobe, refine):
            return super().candidates(queries, count, nprobe * (2 if refine == 2 else 1), refine)

    # Of 100,000 pictures, all lists instead of half of them are 50,000 codes; 110 more candidates 11,000.
    assert tune(Wide(nearest, 1024), probes, layout(narrow, wide), lambda: None).setting == wide
    # A 50th of the lists instead of a 100th: a thousand codes.
    assert tune(Wide(nearest, 20), probes, layout(narrow, wide), lambda: None).setting == narrow


def test_where_nothing_finds_enough_all_lists_are_read_and_what_is_found_is_told():
    probes, nearest = hundred_neighbours()
    tuned = tune(FakeLists(nearest, 10, refine=99), probes, layout(Setting(1.1, 4), Setting(1.5, 16)), lambda: None)
    assert (tuned.setting, tuned.nprobe) == (Setting(1.5, 16), 1024)
    assert abs(tuned.recall_100 - 0.5) < 1e-9
    assert tuned.recall_10 == 1.0


def test_probes_look_for_one_more_as_they_find_themselves():
    probes, nearest = hundred_neighbours()
    lists = FakeLists(nearest, 1)
    tune(lists, probes, layout(Setting(1.5)), lambda: None)
    assert {count for count, _, _ in lists.asked} == {num_candidates(100, Setting(1.5)) + 1} == {161}
