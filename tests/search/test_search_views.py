"""Several photos of the same thing as one query."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError
from glocal.photo_index import Index
from glocal.rerank.bands import Band
from glocal.rerank.geometric import GeometricReranker, VerificationOptions
from glocal.search import PictureBytes
from glocal.search.verifying import Ranking
from glocal.search.views import best_views, shares_of
from glocal.store.collection import Collection
from glocal.types import Shortlist, Verification
from tests.conftest import save, texture
from tests.search.chosen_pictures import asked, build, make_files, searcher_of

VIEW = np.array([[0.85, 0.12, 30.0], [-0.08, 0.9, 40.0], [1.5e-4, 1e-4, 1.0]])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Eight pictures: things 0 and 3 from the front and from aside, four others; and a photo of each of these two."""
    folder = tmp_path_factory.mktemp("library")
    for seed in range(6):
        pixels = texture(seed, 480, 360)
        save(folder / f"photos/{seed}/front.jpg", pixels, quality=92)
        if seed in (0, 3):
            turned = cv2.warpPerspective(pixels, VIEW, (560, 460), borderValue=(90, 100, 110))
            save(folder / f"photos/{seed}/aside.jpg", turned, quality=92)
            save(folder / f"query{seed}.jpg", pixels[30:330, 40 : 440 - 20 * seed], quality=92)
    save(folder / "blank.png", np.full((300, 400, 3), 200, np.uint8))
    with Index.create(folder / "index") as index:
        index.add(folder / "photos", labels="folder")
    return folder


@pytest.fixture(scope="module")
def index(library):
    with Index.open(library / "index") as index:
        yield index


@pytest.fixture(scope="module")
def views(library, index):
    return [index.searcher.describe(library / f"query{seed}.jpg") for seed in (0, 3)]


def facts(result):
    return [(hit.id, hit.similarity, hit.inliers, hit.query_number) for hit in result]


def test_two_views_find_what_each_of_them_shows(library, index):
    result = index.search([library / "query0.jpg", library / "query3.jpg"])
    assert result.verdict == "match"
    found = {hit.name: (hit.query_number, hit.query.path.name) for hit in result.band(Band.SAME)}
    assert found == {
        "0/front.jpg": (0, "query0.jpg"),
        "0/aside.jpg": (0, "query0.jpg"),
        "3/front.jpg": (1, "query3.jpg"),
        "3/aside.jpg": (1, "query3.jpg"),
    }
    assert sorted(hit.name for hit in result) == names_of(library)
    assert [hit.rank for hit in result] == list(range(1, 9))
    assert result.query.path.name == "query0.jpg"
    for hit in result.band(Band.SAME):
        assert hit.view.query_size == hit.query.size  # 400 and 340 pixels wide
        assert (hit.view.query_points[hit.view.mask].max(axis=0) <= hit.query.size).all()


def names_of(library):
    return sorted(str(path.relative_to(library / "photos")) for path in (library / "photos").rglob("*.jpg"))


def test_one_view_in_a_list_is_that_view(index, views):
    assert facts(index.searcher.find(views[:1])) == facts(index.searcher.find(views[0]))


def test_a_picture_counts_with_the_view_that_it_does_best_with(index, views):
    alone = [{hit.id: hit.inliers for hit in index.searcher.find(view, depth=8)} for view in views]
    together = index.searcher.find(views, depth=16)
    assert {hit.id: hit.inliers for hit in together} == {name: max(a[name] for a in alone) for name in alone[0]}
    assert [hit.inliers for hit in together] == sorted((hit.inliers for hit in together), reverse=True)


def test_the_order_of_the_views_changes_their_numbers_alone(index, views):
    forth, back = index.searcher.find(views), index.searcher.find(views[::-1])
    assert [(hit.id, hit.inliers, hit.query.path) for hit in forth] == [
        (hit.id, hit.inliers, hit.query.path) for hit in back
    ]
    assert [hit.query_number for hit in back] == [1 - hit.query_number for hit in forth]


def test_asking_twice_gives_the_same_answer(index, views):
    assert facts(index.searcher.find(views)) == facts(index.searcher.find(views))


def test_several_views_share_the_depth(index, views, monkeypatch):
    compared = []
    verify = GeometricReranker.verify

    def counted(self, query, names):
        compared.extend(names)
        return verify(self, query, names)

    monkeypatch.setattr(GeometricReranker, "verify", counted)
    result = index.searcher.find(views, depth=5)
    assert len(compared) == 5
    assert result.num_verified == len(set(compared))
    assert result.num_candidates == result.num_selected == 8


def test_by_similarity_each_picture_has_its_more_similar_view(index, views):
    first = index.searcher.find(views, rerank="none")
    alone = [{h.id: h.similarity for h in index.searcher.find(view, rerank="none")} for view in views]
    assert {hit.id: hit.similarity for hit in first} == {name: max(a[name] for a in alone) for name in alone[0]}
    assert [hit.similarity for hit in first] == sorted((hit.similarity for hit in first), reverse=True)
    assert all(alone[hit.query_number][hit.id] == hit.similarity for hit in first)


def test_a_plain_view_says_so_and_leaves_its_depth_to_the_others(library, index, views):
    plain = index.searcher.describe(library / "blank.png")
    result = index.searcher.find([plain, views[1]], depth=8)
    assert "blank.png has almost no detail" in result.warnings[0]
    assert {hit.name for hit in result.band(Band.SAME)} == {"3/front.jpg", "3/aside.jpg"}
    assert result.num_verified == 8
    assert all(hit.query_number == 1 for hit in result if hit.verification)


def test_their_time_is_summed(index, views):
    assert index.searcher.find(views).timing_s["extract"] == sum(view.seconds for view in views)


def test_bytes_and_files_can_be_views_together(library, index):
    views = [library / "query0.jpg", PictureBytes((library / "query3.jpg").read_bytes(), "from a form")]
    result = index.searcher.search(views)
    assert {hit.query.path.name for hit in result.band(Band.SAME)} == {"query0.jpg", "from a form"}


def test_what_makes_no_sense_is_refused(library, index):
    with pytest.raises(ConfigError, match=r"A box is a part of one photo, and 2 were given. → one photo"):
        index.search([library / "query0.jpg"] * 2, box=(0, 0, 50, 50))
    for nothing in (lambda: index.search([]), lambda: index.searcher.find([])):
        with pytest.raises(ConfigError, match="no photo to search with"):
            nothing()


def test_views_work_where_nothing_is_judged(tmp_path):
    with Collection.open(build(tmp_path / "index", make_files(30))) as collection, searcher_of(collection) as searcher:
        result = searcher.find([asked(1), asked(2), asked(3)], 100, depth=10)
    assert result.verdict == "not_judged"
    assert len({hit.id for hit in result}) == len(result) == result.num_searched
    assert 0 < result.num_verified <= 10


# ---------------------------------------------------------------------- the parts
@given(st.integers(0, 1000), st.lists(st.booleans(), min_size=1, max_size=9))
def test_shares_are_nearly_equal_and_make_up_the_whole(whole, takes):
    shares = shares_of(whole, takes)
    taken = [share for share, take in zip(shares, takes, strict=True) if take]
    assert all(share == 0 for share, take in zip(shares, takes, strict=True) if not take)
    if taken:
        assert sum(taken) == whole
        assert max(taken) - min(taken) <= 1
        assert taken == sorted(taken, reverse=True)


def verification(inliers):
    return Verification(inliers, None, np.zeros((inliers, 2), np.int64), np.ones(inliers, np.bool_))


def ranking(found):
    """From {name: (similarity, inliers or None)}."""
    order = sorted(found, key=lambda name: (-found[name][0], name))
    verified = {name: verification(found[name][1]) for name in order if found[name][1] is not None}
    return Ranking(Shortlist("q", tuple(order), np.array([found[name][0] for name in order], np.float32)), verified)


found_by_a_view = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(-8, 8).map(lambda n: n / 8), st.none() | st.integers(0, 3))
)


@given(st.lists(found_by_a_view, min_size=2, max_size=4))
def test_the_best_of_all_pairs_of_view_and_picture_comes_first(found):
    """Inliers, then similarity, then the name, then the number of the view; what was not verified after the others."""
    reranker = GeometricReranker({}.__getitem__, VerificationOptions())
    verifier = SimpleNamespace(order=lambda ranking: reranker.order(ranking.shortlist, ranking.verified))
    pairs = sorted(
        ((-1 if inliers is None else inliers), similarity, name, view)
        for view, names in enumerate(found)
        for name, (similarity, inliers) in names.items()
    )
    pairs.sort(key=lambda pair: (-pair[0], -pair[1], pair[2], pair[3]))
    first = {}
    for inliers, similarity, name, view in pairs:
        first.setdefault(name, (view, name, similarity, inliers))
    merged = best_views(verifier, [ranking(names) for names in found])
    assert [
        (view, hit.id, hit.similarity, -1 if hit.verification is None else hit.verification.inliers)
        for view, hit in merged
    ] == list(first.values())
    assert [hit.rank for _, hit in merged] == list(range(1, len(merged) + 1))
