"""What a batch holds depends on seed, epoch, number and rank alone; damaged photos do not stop a run unless many."""

import contextlib
import re
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from glocal.data.augment import augment, centre_crop, staged_view
from glocal.data.image import decode
from glocal.data.labelled import LabelledPhotos, open_photos
from glocal.data.loader import BatchLoader
from glocal.data.sampler import epoch_order
from glocal.errors import ConfigError, ShapeError
from tests.conftest import save, texture

SIZE = 24


@pytest.fixture
def labelled(tmp_path):
    """21 photos of three classes, each of one colour: 10 times its number."""
    for number in range(21):
        pixels = np.full((40, 60, 3), number * 10, np.uint8)
        save(tmp_path / f"photos/class{number % 3}/{number:02}.png", pixels)
    return open_photos("folder", str(tmp_path / "photos"))


def view(pixels, rng):
    return augment(pixels, SIZE, rng, jitter=(0.4, 0.4, 0.4, 0.1))


def middle(pixels, rng):
    return centre_crop(pixels, SIZE)


def loader(photos, transform=view, batch_size=4, seed=0, **options):
    return BatchLoader(photos, batch_size, SIZE, transform, seed, **options)


def content(batches):
    return [(batch.images.tobytes(), batch.labels.tolist()) for batch in batches]


def numbers(batches):
    """Which photos, of those above, without augmentation."""
    return [image[0, 0, 0] // 10 for batch in batches for image in batch.images]


def our_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("glocal-loader")]


def damage(photos, count):
    for source in photos.sources[:count]:
        Path(source).write_bytes(b"\x89PNG\r\n\x1a\n broken")


def test_an_epoch_has_every_photo_once_with_its_label_and_drops_the_rest(labelled):
    loading = loader(labelled, middle)
    batches = list(loading.batches(0))
    assert len(batches) == loading.num_batches == 5
    found = numbers(batches)
    assert len(set(found)) == 20
    assert [number % 3 for number in found] == np.concatenate([batch.labels for batch in batches]).tolist()
    assert batches[0].images.shape == (4, SIZE, SIZE, 3)
    assert batches[0].images.dtype == np.uint8
    assert batches[0].labels.dtype == np.int64
    assert batches[0].wait_s >= 0


@pytest.mark.parametrize("balanced", [False, True])
def test_the_number_of_threads_makes_no_difference(labelled, balanced):
    one, five = (loader(labelled, balanced=balanced, workers=workers) for workers in (1, 5))
    assert content(one.batches(2)) == content(five.batches(2))


def test_an_epoch_goes_on_anywhere_with_the_same_batches(labelled):
    whole = content(loader(labelled).batches(1))
    for first in range(7):
        assert content(loader(labelled).batches(1, first)) == whole[first:]


def test_epochs_and_seeds_differ_in_order_and_augmentation(labelled):
    whole = content(loader(labelled).batches(0))
    assert content(loader(labelled).batches(1)) != whole
    assert content(loader(labelled, seed=1).batches(0)) != whole
    same_photo = LabelledPhotos(labelled.sources[5:6] * 8, np.zeros(8, np.int64), ("x",))
    (batch,) = loader(same_photo, batch_size=8).batches(0)
    assert len({image.tobytes() for image in batch.images}) > 4  # each place has a generator of its own


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_order_between_them(labelled, world):
    ranks = [loader(labelled, middle, 2, rank=rank, world=world) for rank in range(world)]
    assert {each.num_batches for each in ranks} == {21 // world // 2}
    found = [numbers(each.batches(0)) for each in ranks]
    assert len({number for rank in found for number in rank}) == sum(map(len, found))
    names = [int(Path(source).stem) for source in labelled.sources]
    order = [names[i] for i in epoch_order(labelled.labels, 0, 0, False)]
    together = [number for place in zip(*found, strict=True) for number in place]
    assert together == order[: len(together)]


def test_a_balanced_epoch_has_classes_equally_often(labelled):
    part = labelled.subset(np.arange(21) < 10)  # seven of one class and three of another
    labels = np.concatenate([batch.labels for batch in loader(part, batch_size=5, balanced=True).batches(0)])
    assert np.bincount(labels).tolist() == [5, 5]


def test_photos_are_decoded_at_no_more_than_twice_the_size(tmp_path):
    save(tmp_path / "x/1.png", texture(0, 320, 240))
    seen = []

    def look(pixels, rng):
        seen.append(pixels.shape)
        return middle(pixels, rng)

    list(loader(open_photos("folder", str(tmp_path)), look, 1).batches(0))
    assert seen == [(2 * SIZE * 3 // 4, 2 * SIZE, 3)]


def test_a_damaged_photo_is_replaced_by_the_next_of_the_order_and_listed_once(labelled):
    order = epoch_order(labelled.labels, 0, 0, False)
    bad = int(order[6])
    source = labelled.sources[bad]
    expected = content(loader(labelled).batches(0))
    Path(source).write_bytes(b"\x89PNG\r\n\x1a\n broken")
    loading = loader(labelled)
    with contextlib.closing(loading.batches(0)) as batches:
        next(batches)
        assert not loading.damaged  # read ahead, but not yet handed out
        second = next(batches)
    assert [each[0] for each in loading.damaged] == [source]
    assert "damaged" in loading.damaged[0][1]
    replacement = labelled.sources[int(order[7])]
    rng = np.random.default_rng([0, 0, 6])
    assert np.array_equal(second.images[2], view(decode(Path(replacement).read_bytes(), "", 2 * SIZE).pixels, rng))
    assert second.labels[2] == labelled.labels[order[7]]
    after = content(loading.batches(0))
    assert [i for i in range(5) if after[i] != expected[i]] == [1]
    list(loading.batches(1))
    assert len(loading.damaged) == 1


def test_the_last_place_of_the_order_is_replaced_by_the_first(labelled):
    order = epoch_order(labelled.labels, 0, 0, False)
    Path(labelled.sources[int(order[-1])]).unlink()
    *_, last = loader(labelled, middle, 21).batches(0)
    assert np.array_equal(last.images[-1], last.images[0])


def test_ten_damaged_photos_above_the_share_stop_the_run_with_the_first_named(labelled):
    damage(labelled, 9)
    assert len(list(loader(labelled, batch_size=3).batches(0))) == 7
    damage(labelled, 10)
    loading = loader(labelled, batch_size=3)
    with pytest.raises(ConfigError, match=r"10 of the \d+ photos seen so far cannot be read") as raised:
        list(loading.batches(0))
    assert loading.damaged[0][0] in str(raised.value)
    assert not our_threads()
    assert len(list(loader(labelled, batch_size=3, max_damaged=0.9).batches(0))) == 7


def test_from_a_thousand_photos_on_the_share_decides_also_in_a_continued_run(tmp_path):
    save(tmp_path / "good.png", np.zeros((12, 12, 3), np.uint8))
    sources = [str(tmp_path / "good.png")] * 3000
    for number in (1, 2):
        sources[number] = str(tmp_path / f"gone{number}.png")
    photos = LabelledPhotos(tuple(sources), np.zeros(3000, np.int64), ("x",))
    order = epoch_order(photos.labels, 0, 0, False).tolist()
    first = min(order.index(number) // 100 for number in (1, 2))
    with contextlib.closing(loader(photos, middle, 100, max_damaged=0.0003).batches(0)) as batches:
        for _ in range(max(first, 9)):
            next(batches)
        with pytest.raises(ConfigError, match=r"[12] of the \d,\d00 photos"):
            next(batches)
    assert len(list(loader(photos, middle, 100).batches(0, 28))) == 2
    # Two of 3,000 are less than 0.1 %: a run that goes on with a known past is judged by all that it saw.
    continued = loader(photos, middle, 100)
    continued.damaged.extend([(sources[1], "gone"), (sources[2], "gone")])
    assert len(list(continued.batches(0, 28))) == 2
    assert len(continued.damaged) == 2


def test_photos_that_are_all_missing_stop_the_run_at_the_first_batch(labelled):
    for source in labelled.sources:
        Path(source).unlink()
    with pytest.raises(ConfigError, match=r"cannot be read.*repair them"):
        next(loader(labelled).batches(0))
    few = labelled.subset(np.arange(21) < 3)
    with pytest.raises(ConfigError, match="3 of the 3 photos"):
        next(loader(few, batch_size=1).batches(0))


def test_closing_early_leaves_no_threads_and_little_work(labelled):
    count = []

    def counting(pixels, rng):
        count.append(1)
        time.sleep(0.002)
        return middle(pixels, rng)

    big = LabelledPhotos(labelled.sources * 20, np.tile(labelled.labels, 20), labelled.names)
    with contextlib.closing(loader(big, counting, workers=3).batches(0)) as batches:
        next(batches)
        assert our_threads()
    assert not our_threads()
    assert len(count) <= 4 * 6  # one batch and four ahead, and those just begun
    abandoned = loader(big, counting).batches(0)
    next(abandoned)
    del abandoned
    assert not our_threads()


def test_the_next_batches_are_made_while_a_step_is_busy_with_one(labelled):
    made = []

    def counting(pixels, rng):
        made.append(1)
        return middle(pixels, rng)

    with contextlib.closing(loader(labelled, counting).batches(0)) as batches:
        first = next(batches)
        deadline = time.monotonic() + 30
        while len(made) < 2 * len(first.images) and time.monotonic() < deadline:
            time.sleep(0.01)  # the step that is busy
        assert len(made) >= 2 * len(first.images)


def test_an_error_in_the_transform_is_not_hidden(labelled):
    def broken(pixels, rng):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        list(loader(labelled, broken).batches(0))
    with pytest.raises(ShapeError, match=re.escape("(24, 24, 3), not uint8 (40, 48, 3)")):
        list(loader(labelled, lambda pixels, rng: np.zeros((40, 48, 3), np.uint8)).batches(0))
    assert not our_threads()


def test_warnings_are_as_before_when_an_epoch_is_over(labelled):
    before = list(warnings.filters)
    for epoch in range(3):
        list(loader(labelled, workers=4).batches(epoch))
    assert warnings.filters == before


def test_fewer_photos_than_a_batch_give_none(labelled):
    assert loader(labelled, batch_size=22).num_batches == 0
    assert list(loader(labelled, batch_size=22).batches(0)) == []


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": 0}, {"seed": -1}, {"rank": 1}, {"rank": -1}])
def test_numbers_out_of_range_are_refused(labelled, options):
    with pytest.raises(ConfigError, match="must be"):
        loader(labelled, **options)


def staged(pixels, rng):
    return staged_view(pixels, SIZE, rng)


def test_two_views_of_a_photo_stand_together_with_the_places_that_they_show(labelled):
    batches = list(loader(labelled, staged, views=2, stride=8).batches(0))
    assert len(batches) == 21 // 2
    for batch in batches:
        assert batch.images.shape == (4, SIZE, SIZE, 3)
        assert batch.places.shape == (4, 3, 3, 2)
        assert np.array_equal(batch.labels[0::2], batch.labels[1::2])
        assert not np.array_equal(batch.images[0], batch.images[1])
        known = batch.places[~np.isnan(batch.places).any(axis=-1)]
        assert (known >= -0.5).all()
        assert (known <= (59.5, 39.5)).all()


def test_views_depend_on_nothing_but_seed_epoch_and_number(labelled):
    straight = list(loader(labelled, staged, views=2, stride=8, workers=1).batches(3))
    late = list(loader(labelled, staged, views=2, stride=8, workers=3).batches(3, first=4))
    for one, other in zip(straight[4:], late, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.places, other.places, equal_nan=True)


def test_views_that_do_not_fit_and_places_that_are_not_told_are_refused(labelled):
    with pytest.raises(ConfigError, match="a batch of 5 cannot hold 2 views"):
        loader(labelled, staged, batch_size=5, views=2)
    with pytest.raises(ShapeError, match="must tell the places"):
        next(loader(labelled, view, stride=8).batches(0))
