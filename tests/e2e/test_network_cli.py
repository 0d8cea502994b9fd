"""A network from its folder on disk to hits: index, search, explain, as a user types them."""

import json

import numpy as np
import pytest
import torch

from glocal.cli.main import main
from glocal.extract.pyramid import to_tensor
from glocal.models.catalogue import create_model, preprocessing_of
from glocal.models.weights import ModelConfig, save_model
from tests.conftest import save, texture


def settled(network):
    """Random weights whose activations are centred on pictures: without that all descriptors are alike."""
    pictures = np.stack([texture(100 + seed) for seed in range(4)])
    images = to_tensor(pictures, preprocessing_of("gem_mobilenetv2"))
    pooled = []
    network.whiten.register_forward_pre_hook(lambda _module, inputs: pooled.append(inputs[0].mean(dim=0)))
    with torch.no_grad():
        for _ in range(25):
            network.train()(images)  # moves the statistics of the normalisations
        network.eval()(images)
        network.whiten.bias.copy_(-network.whiten.weight @ pooled[-1])
        if network.local_dim:
            encode, c3 = network.local_head.encode, network.backbone(images).c3
            encode.bias.copy_(-encode.weight[:, :, 0, 0] @ c3.mean(dim=(0, 2, 3)))
    return network


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of small networks."""

    def folder(name, **options):
        torch.manual_seed(0)
        place = tmp_path_factory.mktemp("models") / name
        network = settled(create_model(name, **options))
        save_model(place, network, ModelConfig(name, options, preprocessing_of(name, **options)))
        return place

    return {"delg": folder("delg_mobilenetv2"), "spoc": folder("spoc_mobilenetv2")}


def test_a_network_with_local_features_finds_a_photo_and_counts_inliers(models, photos, tmp_path, capsys):
    index, query = tmp_path / "index", save(tmp_path / "query.png", texture(3))
    (photos / "broken.jpg").write_bytes((photos / "a/0.jpg").read_bytes()[:2000])
    assert main(["index", str(photos), "--model", str(models["delg"]), "--index", str(index), "-q"]) == 0
    assert main(["search", str(query), "--index", str(index), "--json", "--similar"]) == 0
    hits = json.loads(capsys.readouterr().out)["results"]
    assert hits[0]["path"] == "b/3.jpg"
    assert hits[0]["verification"]["inliers"] > 20
    others = [hit["verification"]["inliers"] for hit in hits[1:]]
    assert max(others) < hits[0]["verification"]["inliers"] / 2
    assert main(["info", str(index), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["counts"]["indexed"] == 7
    assert [file["reason"] for file in info["files"] if file["status"] == "rejected"] == ["truncated"]
    picture = tmp_path / "why.png"
    pair = [str(query), str(photos / "b/3.jpg")]
    assert main(["explain", *pair, "--model", str(models["delg"]), "--out", str(picture)]) == 0
    assert picture.stat().st_size > 10_000


def test_a_thing_on_its_side_is_found_unless_the_search_is_upright(models, photos, tmp_path, capsys):
    index, query = tmp_path / "index", save(tmp_path / "query.png", np.rot90(texture(3)).copy())
    assert main(["index", str(photos), "--model", str(models["delg"]), "--index", str(index), "-q"]) == 0

    def inliers(*options):
        assert main(["search", str(query), "--index", str(index), "--json", "--similar", *options]) == 0
        hits = json.loads(capsys.readouterr().out)["results"]
        return {hit["path"]: (hit["rank"], hit["verification"]) for hit in hits}["b/3.jpg"]

    rank, found = inliers()
    assert rank == 1
    assert found["inliers"] > 20
    turn = np.array(found["H"])[:2, :2] / np.array(found["H"])[2, 2]
    assert np.allclose(turn, [[0, -1], [1, 0]], atol=0.1)  # the query was turned counter-clockwise: this turns it back
    assert inliers("--upright")[1]["inliers"] < found["inliers"] / 2
    pair = [str(query), str(photos / "b/3.jpg")]
    assert main(["explain", *pair, "--model", str(models["delg"]), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["inliers"]
    assert again == pytest.approx(found["inliers"], rel=0.05)  # what is stored is rounded


def test_a_global_network_orders_by_similarity_and_says_that_nothing_is_verified(models, photos, tmp_path, capsys):
    index, query = tmp_path / "index", photos / "a/4.jpg"
    assert main(["index", str(photos), "--model", str(models["spoc"]), "--index", str(index), "-q"]) == 0
    assert main(["search", str(query), "--index", str(index)]) == 0
    out, err = capsys.readouterr()
    assert "nothing is verified" in err
    assert out.splitlines()[1].split()[1] == "a/4.jpg"
    assert "similarity 1.000" in out.splitlines()[1]
