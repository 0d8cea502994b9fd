"""Which pictures may be found: what a selection leaves, and that a search of it misses and adds nothing."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError
from glocal.search import Selection, selected
from glocal.store.collection import Collection
from glocal.store.rows import CatalogueRow, LocalForm
from tests.search.chosen_pictures import (
    FOLDERS,
    LABELS,
    Elsewhere,
    Server,
    asked,
    build,
    is_gone,
    local_of,
    make_files,
    searcher_of,
)

FILES = make_files(240)
ALL = 1000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return build(tmp_path_factory.mktemp("chosen") / "index", FILES)


@pytest.fixture(scope="module")
def collection(place):
    with Collection.open(place) as collection:
        yield collection


@pytest.fixture(scope="module")
def searcher(collection):
    with searcher_of(collection) as searcher:
        yield searcher


def fits(file, selection):
    """The same said differently: part by part of the name, not by its beginning."""
    folders = file.path.decode().split("/")[:-1]
    return (
        not is_gone(file)
        and (selection.labels is None or file.label in selection.labels)
        and file.label not in selection.not_labels
        and (not selection.folders or any(folders[: len(f.split("/"))] == f.split("/") for f in selection.folders))
        and (selection.modified_from_ns is None or file.mtime_ns >= selection.modified_from_ns)
        and (selection.modified_before_ns is None or file.mtime_ns < selection.modified_before_ns)
    )


def expected_ids(selection):
    return sorted({f"{file.seed:032x}" for file in FILES if fits(file, selection)})


inner_folders = st.sampled_from([folder for folder in FOLDERS if folder] + ["201", "Roma"])
names = st.sampled_from([label for label in LABELS if label] + ["unheard of"])
times = st.none() | st.integers(-5, 1005)
selections = st.builds(
    Selection,
    labels=st.none() | st.frozensets(names),
    not_labels=st.frozensets(names, max_size=2),
    folders=st.lists(inner_folders, max_size=2).map(tuple),
    modified_from_ns=times,
    modified_before_ns=times,
)


def hits_of(result):
    return [(hit.id, hit.similarity) for hit in result]


@given(selections)
def test_a_selection_leaves_the_pictures_of_which_one_file_fits(collection, selection):
    with collection.snapshot():
        assert selection.ids(collection) == expected_ids(selection)


@given(selections, st.integers(0, 50), st.sampled_from([1, 4]))
def test_a_search_of_a_selection_is_the_search_of_all_without_the_others(searcher, selection, seed, turns):
    query = asked(seed, turns)
    everything = searcher.find(query, ALL, "none")
    found = searcher.find(query, ALL, "none", selection=selection)
    wanted = set(expected_ids(selection))
    assert hits_of(found) == [pair for pair in hits_of(everything) if pair[0] in wanted]
    assert [hit.rank for hit in found] == list(range(1, len(wanted) + 1))
    assert found.num_selected == found.num_candidates == len(wanted)
    assert found.num_searched == everything.num_selected == everything.num_searched


@given(selections, st.integers(1, 9))
def test_the_best_of_a_selection_are_never_fewer_than_there_are(searcher, selection, topk):
    found = searcher.find(asked(2), topk, "none", depth=1, selection=selection)
    assert len(found) == min(topk, len(expected_ids(selection)))


@pytest.mark.parametrize("store", [Elsewhere, Server])
@pytest.mark.parametrize(("sparse", "most_by_name"), [(1, 10**6), (10**6, 10**6), (1, 0)])
def test_a_store_that_is_no_file_gives_the_same_answer(collection, searcher, monkeypatch, store, sparse, most_by_name):
    monkeypatch.setattr(selected, "SPARSE", sparse)
    monkeypatch.setattr(selected, "MOST_BY_NAME", most_by_name)
    chosen = Selection(labels=frozenset({"vase"}), folders=("2019",))
    remote = store(collection)
    with searcher_of(remote) as other:
        assert hits_of(other.find(asked(3), ALL, selection=chosen)) == hits_of(
            searcher.find(asked(3), ALL, selection=chosen)
        )
    assert remote.num_read == (len(expected_ids(chosen)) if (sparse, most_by_name) == (1, 10**6) else 0)


@pytest.mark.parametrize("held", [0, 1 << 20])
def test_the_answer_is_the_same_from_memory_and_from_disk(collection, searcher, monkeypatch, held):
    monkeypatch.setattr("glocal.search.searcher.MAX_CACHED_BYTES", held)
    chosen = Selection(folders=("2019/Roma",))
    with searcher_of(collection) as other:
        first, second = (hits_of(other.find(asked(4), ALL, selection=chosen)) for _ in range(2))
    assert first == second == hits_of(searcher.find(asked(4), ALL, selection=chosen))


def test_a_binary_collection_is_selected_from_and_verified(tmp_path, place):
    files = make_files(40)
    chosen = Selection(modified_from_ns=500)
    expected = {f"{f.seed:032x}" for f in files if not is_gone(f) and f.mtime_ns >= 500}
    with (
        Collection.open(build(tmp_path / "binary", files, form=LocalForm.BINARY)) as binary,
        searcher_of(binary) as searcher,
    ):
        # A query that is a picture of the collection: all of its keypoints agree with themselves.
        own = dataclasses.replace(asked(5), local=(local_of(int(min(expected), 16), 12),))
        result = searcher.find(own, ALL, selection=chosen)
    assert {hit.id for hit in result} == expected
    assert result[0].id == min(expected)
    assert result[0].inliers == 12
    assert result.num_verified == len(expected)


def test_verification_of_a_selection_is_that_of_all_without_the_others(searcher):
    chosen = Selection(labels=frozenset({"coin"}))
    wanted = set(expected_ids(chosen))
    everything = searcher.find(asked(6), ALL, depth=ALL)
    found = searcher.find(asked(6), ALL, depth=ALL, selection=chosen)
    assert [(hit.id, hit.inliers) for hit in found] == [(h.id, h.inliers) for h in everything if h.id in wanted]
    assert (found.num_verified, everything.num_verified) == (len(wanted), everything.num_searched)


def test_nothing_selected_is_an_answer_that_says_so(searcher):
    result = searcher.find(asked(), selection=Selection(labels=frozenset({"vsae"}), folders=("2019",)))
    assert (len(result), result.num_selected, result.num_candidates, result.num_verified) == (0, 0, 0, 0)
    assert result.verdict == "no_match"
    count = len(expected_ids(Selection()))
    assert result.warnings[0] == (
        f"None of the {count} pictures fits what was selected (label vsae; folder 2019): there is nothing to find."
    )


def test_no_label_at_all_is_not_the_same_as_any_label(searcher):
    assert searcher.find(asked(), selection=Selection(labels=frozenset())).num_selected == 0
    assert searcher.find(asked(), selection=Selection(labels=None)).num_selected > 0


def test_hits_by_similarity_and_verified_ones_are_of_the_selection(searcher):
    chosen = Selection(not_labels=frozenset({"vase", "coin"}))
    first, last = (searcher.find(asked(7), ALL, way, selection=chosen) for way in ("none", "geometric"))
    assert {hit.id for hit in first} == {hit.id for hit in last} == set(expected_ids(chosen))
    assert (first.num_verified, last.num_verified) == (0, min(searcher.depth, len(expected_ids(chosen))))


def test_labels_by_folder_are_those_of_the_folder_that_a_photo_lies_in(tmp_path):
    files = make_files(60)
    with Collection.open(build(tmp_path / "index", files, labels=False), writable=True) as collection:
        collection.labels = "folder"
        with collection.snapshot():
            found = Selection(labels=frozenset({"Roma", "2020"})).ids(collection)
    expected = {f.seed for f in files if not is_gone(f) and f.path.decode().rpartition("/")[0] in ("2019/Roma", "2020")}
    assert found == [f"{seed:032x}" for seed in sorted(expected)]


def test_labels_of_a_collection_without_are_refused(tmp_path):
    with (
        Collection.open(build(tmp_path / "index", make_files(3), labels=False)) as bare,
        searcher_of(bare) as searcher,
    ):
        for chosen in (Selection(labels=frozenset({"vase"})), Selection(not_labels=frozenset({"vase"}))):
            with pytest.raises(ConfigError, match=r"have no labels. → glocal index PHOTOS --labels folder"):
                searcher.find(asked(), selection=chosen)
        assert len(searcher.find(asked(), selection=Selection(modified_before_ns=10**9))) == 3


@pytest.mark.parametrize("folder", ["/2019", "../2019", "2019/../..", ".."])
def test_a_folder_outside_of_the_collection_is_refused(folder):
    with pytest.raises(ConfigError, match="is no folder within the collection"):
        Selection(folders=(folder,))


def test_folders_are_named_as_people_type_them(collection):
    with collection.snapshot():
        assert Selection(folders=("./2019//Roma/",)).ids(collection) == expected_ids(Selection(folders=("2019/Roma",)))
        assert Selection(folders=(".",)).ids(collection) == expected_ids(Selection())


def test_one_text_does_not_stand_for_its_letters():
    with pytest.raises(ConfigError, match="labels are several texts"):
        Selection(labels="vase")


def test_a_selection_sees_pictures_that_were_added_and_hidden_since(tmp_path):
    files = make_files(20)
    place = build(tmp_path / "index", files)
    chosen = Selection(modified_from_ns=0)
    with Collection.open(place) as collection, searcher_of(collection) as searcher:
        before = searcher.find(asked(), ALL, selection=chosen).num_selected
        with Collection.open(place, writable=True) as writer:
            writer.commit([], [CatalogueRow(b"new.jpg", 1009, 5, "indexed", content_hash=f"{9:032x}")])
        assert searcher.find(asked(), ALL, selection=chosen).num_selected == before + 1
        with Collection.open(place, writable=True) as writer:
            writer.hide([b"new.jpg"])
        assert searcher.find(asked(), ALL, selection=chosen).num_selected == before


def test_a_store_without_a_catalogue_says_so():
    class Bare:
        directory, spec, local_form, model_source = "this request", asked, LocalForm.INT8, "rootsift"

    with pytest.raises(ConfigError, match="this request has no catalogue"):
        selected.SelectedPictures(Bare(), 0).choose(Selection())
