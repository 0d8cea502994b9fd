import json

import numpy as np
import pytest
from safetensors.numpy import load, load_file, save

from glocal.errors import ConfigError, ShapeError, WeightsError
from glocal.home import shipped_model
from glocal.ops.asmk import aggregate, inverse_document_frequency, similarity
from glocal.rerank.asmk import SAME_LOCAL_FEATURES, AsmkOptions, AsmkReranker, Codebook, load_codebook
from glocal.types import LocalFeatures

DIM = 16


def unit(rows):
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def features(descriptors):
    count = len(descriptors)
    ones = np.ones(count, np.float32)
    return LocalFeatures("x", (320, 240), np.zeros((count, 2), np.float32), descriptors, ones, ones)


@pytest.fixture
def world():
    """A codebook, and six photos of 40 descriptors; photo 3 shows what the query shows, a little changed."""
    rng = np.random.default_rng(0)
    codebook = unit(rng.normal(size=(12, DIM))) * np.float32(0.7)
    photos = [features(unit(rng.normal(size=(40, DIM)))) for _ in range(6)]
    query = features(unit(photos[3].descriptors + 0.05 * rng.normal(size=(40, DIM))))
    return codebook, photos, query


@pytest.mark.parametrize("binary", [True, False])
def test_the_order_is_that_of_the_similarities(world, binary):
    codebook, photos, query = world
    options = AsmkOptions(query_assignments=2, binary=binary)
    reranker = AsmkReranker(lambda number: photos[number], codebook, options)
    candidates = [5, 0, 3, 1]
    order, similarities = reranker.rerank([query], candidates)
    asked = aggregate(query.descriptors, codebook, 2, binary)
    expected = [similarity(asked, aggregate(photos[i].descriptors, codebook, 1, binary)) for i in candidates]
    assert np.allclose(similarities, expected)
    assert order.tolist() == sorted(range(4), key=lambda i: -expected[i])
    assert candidates[order[0]] == 3


def test_the_most_similar_way_of_a_turned_query_counts(world):
    codebook, photos, query = world
    reranker = AsmkReranker(lambda number: photos[number], codebook)
    _, upright = reranker.rerank([query], range(6))
    _, other = reranker.rerank([photos[1]], range(6))
    _, both = reranker.rerank([photos[1], query], range(6))
    assert np.allclose(both, np.maximum(upright, other))


def test_weights_of_words_reach_the_similarity(world):
    codebook, photos, query = world
    gallery = [aggregate(photo.descriptors[:8], codebook) for photo in photos]
    idf = inverse_document_frequency(gallery, len(codebook))
    few = [features(photo.descriptors[:8]) for photo in photos]
    _, found = AsmkReranker(lambda number: few[number], codebook, AsmkOptions(), idf).rerank([query], range(6))
    asked = aggregate(query.descriptors, codebook, 5)
    assert np.allclose(found, [similarity(asked, photo, idf=idf) for photo in gallery])
    assert not np.allclose(found, [similarity(asked, photo) for photo in gallery])


def test_equal_candidates_keep_their_order_and_photos_without_features_come_last(world):
    codebook, photos, query = world
    nothing = features(np.empty((0, 0), np.float32))
    shown = {0: nothing, 1: photos[3], 2: nothing, 3: photos[3]}
    order, similarities = AsmkReranker(shown.__getitem__, codebook).rerank([query], [0, 1, 2, 3])
    assert order.tolist() == [1, 3, 0, 2]
    assert similarities[0] == similarities[2] == 0
    order, similarities = AsmkReranker(shown.__getitem__, codebook).rerank([nothing], [0, 1])
    assert order.tolist() == [0, 1]
    assert (similarities == 0).all()


def test_a_candidate_is_aggregated_once_as_long_as_the_cache_holds_it(world):
    codebook, photos, query = world
    read = []

    def features_of(number):
        read.append(number)
        return photos[number]

    reranker = AsmkReranker(features_of, codebook, AsmkOptions(cache=2))
    first = reranker.rerank([query], [0, 1])
    second = reranker.rerank([query], [0, 1])
    assert read == [0, 1]
    assert np.array_equal(first[1], second[1])
    reranker.rerank([query], [2])  # 0 is the one that was used longest ago
    reranker.rerank([query], [1, 2])
    assert read == [0, 1, 2]
    reranker.rerank([query], [0])
    assert read == [0, 1, 2, 0]


def test_without_candidates_there_is_no_order(world):
    codebook, photos, query = world
    order, similarities = AsmkReranker(lambda number: photos[number], codebook).rerank([query], [])
    assert len(order) == len(similarities) == 0


def test_what_does_not_fit_is_refused(world):
    codebook, photos, _ = world
    with pytest.raises(ShapeError, match=f"d={DIM}"):
        AsmkReranker(lambda number: photos[number], codebook).rerank([features(unit(np.ones((2, 4))))], [0])
    with pytest.raises(ShapeError, match="no local features"):
        AsmkReranker(lambda number: photos[number], codebook).rerank([], [0])
    with pytest.raises(ShapeError, match="one weight for each word"):
        AsmkReranker(lambda number: photos[number], codebook, AsmkOptions(), np.ones(3, np.float32))
    for wrong in ({"assignments": 0}, {"query_assignments": 0}, {"alpha": 0}, {"tau": 1.0}, {"cache": -1}):
        with pytest.raises(ConfigError, match="makes no sense"):
            AsmkOptions(**wrong)


def shipped_fingerprint(model):
    return json.loads((shipped_model(model) / "fingerprint.json").read_text("utf-8"))["fingerprint"]


@pytest.mark.parametrize("model", ["delg_mobilenetv2", "glocal_mobilenetv2"])
def test_the_shipped_codebook_holds_for_the_shipped_weights_alone(model):
    codebook = load_codebook(model, shipped_fingerprint(model))
    assert codebook.words.shape == (4096, 128)
    # Means of unit vectors lie inside the unit sphere, and no two words are the same.
    norms = np.linalg.norm(codebook.words, axis=1)
    assert 0.2 < norms.min() <= norms.max() < 1.01
    assert len(np.unique(codebook.words, axis=0)) == 4096
    sources = json.loads(codebook.trained_on)
    assert sum(sources.values()) == 2551
    assert "BIDS/BSDS500" not in sources
    assert load_codebook(model, "f" * 64) is None
    assert load_codebook("dolg_mobilenetv2", shipped_fingerprint(model)) is None


def test_models_that_share_a_codebook_have_the_same_local_features():
    for model, other in SAME_LOCAL_FEATURES.items():
        mine = load_file(shipped_model(model) / "model.safetensors")
        theirs = load_file(shipped_model(other) / "model.safetensors")
        read = [name for name in theirs if name.startswith(("backbone.", "local_head."))]
        assert len(read) > 300
        for name in read:
            assert (mine[name if name in mine else f"system.{name}"] == theirs[name]).all(), name


def test_a_name_that_leaves_the_folder_or_is_unknown_has_no_codebook():
    for name in ("nothing", "rootsift", "../weights/delg_mobilenetv2", "dolg_timm:a/b"):
        assert load_codebook(name, "f" * 64) is None


def codebook_bytes(levels=None, step=None, **metadata):
    levels = np.arange(-6, 6, dtype=np.int8).reshape(3, 4) if levels is None else levels
    step = np.array([0.5], np.float32) if step is None else step
    return save({"levels": levels, "step": step}, {"weights": '{"mine": "abc"}', "trained_on": "x"} | metadata)


def test_levels_are_multiplied_by_the_step():
    codebook = Codebook.from_bytes(codebook_bytes())
    assert np.array_equal(codebook.words, np.arange(-3, 3, 0.5, dtype=np.float32).reshape(3, 4))
    assert codebook.words.dtype == np.float32
    assert (codebook.weights, codebook.trained_on) == ({"mine": "abc"}, "x")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no safetensors at all",
        codebook_bytes()[:-1],
        save({"levels": np.zeros((3, 4), np.int8)}, {"weights": "{}"}),
        save({"levels": np.zeros((3, 4), np.int8), "step": np.ones(1, np.float32)}),
        codebook_bytes(weights="[1]"),
        codebook_bytes(weights="{"),
        codebook_bytes(weights='{"mine": 3}'),
        codebook_bytes(levels=np.zeros((3, 4), np.float32)),
        codebook_bytes(levels=np.zeros((0, 4), np.int8)),
        codebook_bytes(levels=np.zeros(4, np.int8)),
        codebook_bytes(step=np.array([np.nan], np.float32)),
        codebook_bytes(step=np.array([0], np.float32)),
        codebook_bytes(step=np.ones(2, np.float32)),
    ],
)
def test_a_damaged_codebook_is_named(data, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/mine.asmk.safetensors").write_bytes(data)
    monkeypatch.setattr("glocal.rerank.asmk.files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match=r"mine\.asmk\.safetensors is damaged"):
        load_codebook("mine", "abc")


def test_a_codebook_larger_than_the_limit_is_not_parsed(monkeypatch):
    monkeypatch.setattr("glocal.rerank.asmk.MAX_BYTES", 10)
    with pytest.raises(WeightsError, match="the limit is 10"):
        Codebook.from_bytes(codebook_bytes())


def test_what_was_written_is_what_the_file_holds():
    file = shipped_model("x").parent / "delg_mobilenetv2.asmk.safetensors"
    tensors = load(file.read_bytes())
    assert np.abs(tensors["levels"]).max() == 127
    assert file.stat().st_size < 530_000
