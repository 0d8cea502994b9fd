"""An index that keeps the signs of local descriptors alone, from photos to hits; the network is a fake."""

import dataclasses
import json

import numpy as np
import pytest

from glocal.cli.main import main
from glocal.errors import ConfigError, SpecMismatch
from glocal.photo_index import Index
from glocal.rerank.bands import Band, Calibration
from glocal.rerank.binary import signs_of, verify_signs
from glocal.rerank.geometric import DEFAULTS, VerificationOptions
from glocal.types import LocalFeatures
from tests.conftest import save, texture
from tests.fakes import FakeNetwork


class SpreadNetwork(FakeNetwork):
    """Its local descriptors are RootSIFT's around their mean: half of the numbers are negative."""

    def __init__(self, local=True):
        super().__init__(local)

    def extract(self, photo):
        found = super().extract(photo)
        rows = found.local.descriptors - found.local.descriptors.mean(axis=1, keepdims=True)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return dataclasses.replace(found, local=dataclasses.replace(found.local, descriptors=rows))


@pytest.fixture
def binary(photos, tmp_path, install):
    with Index.create(tmp_path / "index", install(SpreadNetwork()), local="binary") as index:
        index.add(photos)
        yield index


def test_a_binary_index_finds_and_orders_but_does_not_judge(binary, photos, tmp_path):
    query = save(tmp_path / "query.png", texture(2)[20:220, 30:300])
    result = binary.search(query)
    assert result[0].name == "a/2.jpg"
    assert result[0].inliers > 50 > result[1].inliers
    assert result.verdict == "not_judged"
    assert {(hit.probability, hit.band) for hit in result} == {(None, Band.LOOK_ALIKE)}
    assert result.warnings == (
        "fake_net has no calibration for binary local features: hits are ordered, but not judged",
    )
    assert result[0].plot(tmp_path / "why.png").stat().st_size > 10_000


def test_its_hits_have_the_inliers_of_signs(binary, photos):
    result = binary.search(photos / "b/3.jpg")
    stored = binary.collection.sign_features_many([hit.id for hit in result])
    query = binary.collection.local_features(result[0].id)  # the query is a photo of the index
    for hit, target in zip(result, stored, strict=True):
        # The stored keypoints are rounded, those of the query are not.
        assert abs(hit.inliers - verify_signs(query, target, DEFAULTS).inliers) <= 3
    assert isinstance(query, LocalFeatures)
    assert np.array_equal(signs_of(query).bits, stored[0].bits)


def test_a_calibration_for_signs_is_used_and_one_for_floats_is_not(photos, tmp_path, install, monkeypatch):
    asked = []
    float_like = VerificationOptions(max_ratio=0.85, least=30)
    known = {
        "fake_net": Calibration(-1.0, 3.0, 0.9, 0.5, float_like),
        "fake_net.signs": Calibration(-9.0, 3.0, 0.9, 0.5, VerificationOptions(max_ratio=0.9)),
    }

    def load(model, weights=None):
        asked.append((model, weights))
        return known.get(model)

    monkeypatch.setattr(Calibration, "load", load)
    place = install(SpreadNetwork())
    with Index.create(tmp_path / "index", place, local="binary") as index:
        index.add(photos)
        assert index.search(photos / "a/2.jpg").verdict == "match"
        assert asked[0] == ("fake_net.signs", "a" * 64)
    del known["fake_net.signs"]
    with Index.open(tmp_path / "index", place) as index:
        assert index.search(photos / "a/2.jpg").verdict == "not_judged"
        # How the model's descriptors are compared still holds; what it means does not.
        assert index.searcher._options == float_like
        # Two files are compared by their descriptors as they are, whatever the index keeps.
        assert index.searcher.explain(photos / "a/2.jpg", photos / "copy of 0.jpg").probability is not None
        assert index.searcher.explain(photos / "a/0.jpg", photos / "copy of 0.jpg").band == Band.SAME


def test_another_form_than_that_of_the_index_is_refused_with_both(binary, tmp_path, photos, capsys):
    place = binary.model.source
    for form in ("int8", "float16"):
        with pytest.raises(SpecMismatch, match=rf"keeps local features as binary, not as {form}\..*--local binary"):
            Index.open_or_create(tmp_path / "index", place, local=form)
    for form in (None, "binary"):
        Index.open_or_create(tmp_path / "index", place, local=form).close()
    command = ["index", str(photos), "--model", place, "--index", str(tmp_path / "index"), "-q"]
    assert main([*command, "--local", "int8"]) == 4
    assert "keeps local features as binary, not as int8" in capsys.readouterr().err
    assert main([*command, "--local", "binary"]) == 0
    assert main(command) == 0


@pytest.mark.parametrize("form", ["int8", "float16", "binary"])
def test_the_command_line_makes_and_tells_each_form(form, photos, tmp_path, install, capsys):
    place, index = str(install(SpreadNetwork())), str(tmp_path / "index")
    assert main(["index", str(photos), "--model", place, "--index", index, "-q", "--local", form]) == 0
    assert main(["info", index]) == 0
    assert f" local ({form})" in capsys.readouterr().out
    assert main(["info", index, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["local_form"] == form
    with Index.open(index, place) as opened:
        features = [
            len(opened.collection.local_features(name)) for name in opened.collection.descriptors().__next__().ids
        ]
    per_feature = found["bytes"]["local"] / sum(features)
    descriptor = {"int8": 128, "float16": 256, "binary": 16}[form]
    assert descriptor < per_feature < descriptor + 6.5


def test_a_model_without_negative_numbers_or_without_local_features_has_no_binary_form(tmp_path, install, capsys):
    with pytest.raises(ConfigError, match="rootsift are never negative"):
        Index.create(tmp_path / "one", "rootsift", local="binary")
    with pytest.raises(ConfigError, match="no local features to be kept as float16"):
        Index.create(tmp_path / "two", install(SpreadNetwork(local=False)), local="float16")
    with pytest.raises(ConfigError, match='int8, float16, binary, not as "int4"'):
        Index.create(tmp_path / "three", "rootsift", local="int4")
    assert not any((tmp_path / name).exists() for name in ("one", "two", "three"))
