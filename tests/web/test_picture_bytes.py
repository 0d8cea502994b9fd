"""A query as bytes: through the pipe of a worker, never a file; and one that is described in two steps."""

import dataclasses
import os

import cv2
import numpy as np
import pytest

from glocal.errors import ImageError
from glocal.extract.batching import BatchingPool
from glocal.extract.pool import WorkerPool
from glocal.extract.requests import PIXELS_ONLY, Request
from glocal.photo_index import Index
from glocal.search import PictureBytes, Searcher
from tests.conftest import save, texture
from tests.fakes import FakeNetwork


@pytest.fixture(scope="module")
def decoder():
    with WorkerPool(PIXELS_ONLY) as pool:
        yield pool


@pytest.fixture
def index(collection):
    with Index.open(collection / "photos/.glocal") as index:
        yield index


def pixels(data, key=None, **more):
    return Request(b"the picture", key, "pixels", data=data, longest=0, **more)


def test_bytes_give_what_their_file_gives(decoder, tmp_path):
    path = save(tmp_path / "a.png", texture(1))
    of_file = decoder.read(Request(os.fsencode(path), want="pixels"))
    of_bytes = decoder.read(dataclasses.replace(pixels(path.read_bytes()), longest=None))
    assert np.array_equal(of_bytes.arrays["pixels"], of_file.arrays["pixels"])
    assert of_bytes.content_hash == of_file.content_hash
    assert (of_bytes.mtime_ns, of_bytes.num_bytes) == (0, path.stat().st_size)


def test_bytes_larger_than_any_pipe_pass_also_when_answers_are_large_and_files_are_asked_between(decoder, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1400, 3), np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    path = save(tmp_path / "small.png", texture(1))
    assert len(large) > 5 << 20
    requests = [pixels(large, 0), Request(os.fsencode(path), 1, "pixels"), pixels(large, 2), pixels(large, 3)]
    requests += [Request(os.fsencode(path), key, "pixels") for key in (4, 5)] + [pixels(large, 6)]
    answers = {asked.key: answer for asked, answer in decoder.run(requests)}
    assert sorted(answers) == list(range(7))
    for key in (0, 2, 3, 6):
        assert np.array_equal(answers[key].arrays["pixels"], noise[:, :, ::-1])


@pytest.mark.parametrize(("data", "code"), [(b"", "empty"), (b"hello\nworld\n{}", "not_an_image")])
def test_bytes_that_are_no_picture_are_refused_and_the_worker_goes_on(decoder, tmp_path, data, code):
    with pytest.raises(ImageError) as refused:
        decoder.read(pixels(data))
    assert refused.value.code == code
    good = save(tmp_path / "a.png", texture(1)).read_bytes()
    assert decoder.read(pixels(good)).size == (320, 240)


def test_a_search_of_bytes_is_that_of_the_file(index, collection):
    file = collection / "query.jpg"
    for box in (None, (200.0, 100.0, 180.0, 160.0)):
        expected = index.searcher.search(file, box=box)
        found = index.searcher.search(PictureBytes(file.read_bytes()), box=box)
        assert [(hit.id, hit.similarity, hit.inliers) for hit in found] == [
            (hit.id, hit.similarity, hit.inliers) for hit in expected
        ]
        assert found.warnings == expected.warnings


def test_bytes_that_cannot_be_read_are_named_without_a_path(index):
    with pytest.raises(ImageError, match=r"^cannot read the picture — damaged"):
        index.searcher.search(PictureBytes(b"\xff\xd8\xff"))


def test_a_query_that_is_described_in_two_steps_is_the_same_as_one_that_is_described_at_once(collection, tmp_path):
    save(tmp_path / "photos/1.jpg", texture(1))
    with Index.create(tmp_path / "index", "delg_mobilenetv2") as index:
        index.add(tmp_path / "photos")
        photo = PictureBytes((collection / "query.jpg").read_bytes())
        for box in (None, (20.0, 30.0, 200.0, 150.0)):
            at_once = index.searcher.describe(photo, box)
            first = index.searcher.describe(photo, box, upright=True)
            assert (len(at_once.vectors), len(first.vectors)) == (4, 1)
            rest = index.searcher.describe_rest(first, photo)
            assert rest.query == at_once.query
            np.testing.assert_allclose(rest.vectors, at_once.vectors, atol=1e-5)
            for one, other in zip(rest.local, at_once.local, strict=True):
                np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
            assert index.searcher.describe_rest(rest, photo) is rest


def test_one_picture_is_verified_as_the_search_does_it(index, collection):
    asked = index.searcher.describe(collection / "query.jpg")
    for hit in index.searcher.find(asked):
        alone, _ = index.searcher.verify(asked, hit.id)
        assert (alone.inliers, alone.probability, alone.band) == (hit.inliers, hit.probability, hit.band)
        assert np.array_equal(alone.view.mask, hit.view.mask)


def test_a_shared_pool_outlives_the_searcher(index, collection):
    with index.model.pool() as pool:
        with Searcher(index.collection, model=index.model, pool=pool) as searcher:
            assert searcher.search(collection / "query.jpg").verdict == "match"
        assert pool.spec() == index.collection.spec


class CountingDecoders:
    """Stands before the decoders and counts what they are asked."""

    def __init__(self, pool):
        self.pool, self.asked = pool, 0

    def run(self, requests):
        for outcome in self.pool.run(requests):
            self.asked += 1
            yield outcome

    def close(self):
        self.pool.close()


def test_a_photo_is_decoded_once_for_all_its_turns(tmp_path):
    path = save(tmp_path / "a.png", texture(1, 500, 400))
    with BatchingPool(FakeNetwork(local=True)) as pool:
        one_by_one = {turn: pool.read(Request(os.fsencode(path), turn=turn)).arrays["descriptor"] for turn in range(4)}
        pool._decoders = CountingDecoders(pool._decoders)
        outcomes = {asked.turn: answer for asked, answer in pool.run([Request(os.fsencode(path), num_turns=4)])}
        assert pool._decoders.asked == 1
        broken = list(pool.run([Request(b"x", num_turns=4, data=b"no picture")]))
    assert sorted(outcomes) == [0, 1, 2, 3]
    for turn, answer in outcomes.items():
        assert np.array_equal(answer.arrays["descriptor"], one_by_one[turn])
        assert answer.size == (500, 400)
    assert [outcome.code for _, outcome in broken] == ["not_an_image"]


def test_a_model_without_network_describes_all_turns_too(tmp_path):
    data = save(tmp_path / "a.png", texture(1)).read_bytes()
    with WorkerPool("rootsift") as pool:
        outcomes = {asked.turn: answer for asked, answer in pool.run([Request(b"a", num_turns=3, turn=1, data=data)])}
        expected = pool.read(Request(b"a", turn=3, data=data))
    assert sorted(outcomes) == [1, 2, 3]
    assert np.array_equal(outcomes[3].arrays["keypoints"], expected.arrays["keypoints"])
