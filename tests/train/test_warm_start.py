"""Whitened descriptors and imprinted classifiers: what a run begins with."""

import numpy as np
import pytest
import torch
from torch import nn

from glocal.data.labelled import open_photos
from glocal.errors import ConfigError
from glocal.extract.pyramid import to_tensor
from glocal.models.catalogue import create_model, preprocessing_of
from glocal.models.weights import ModelConfig, save_model
from glocal.nn.margin_head import ArcFaceHead
from glocal.nn.partial_head import SubcentreHead
from glocal.train.validation import describe_photos
from glocal.train.warm_start import fill_from, imprint, whiten_projections
from tests.conftest import save, texture

RULES = preprocessing_of("gem_mobilenetv2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty textures of ten classes."""
    folder = tmp_path_factory.mktemp("classes")
    for number in range(30):
        save(folder / f"{number % 10}/{number}.png", texture(number, 64, 64))
    return open_photos("folder", str(folder))


@pytest.fixture
def network():
    """Random weights, with the statistics of real maps: without them all pictures look the same to it."""
    torch.manual_seed(0)
    network = create_model("gem_mobilenetv2", dim=8).train()
    pictures = np.stack([texture(number, 64, 64) for number in range(30)])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(to_tensor(pictures, RULES))
    return network.eval()


def test_whitened_outputs_are_uncorrelated_and_of_one_variance(network, photos):
    outputs = []
    network.whiten.register_forward_hook(lambda _, given, output: outputs.append(output.numpy()))
    whiten_projections(network, photos, RULES, 64, "cpu", 0.5, 0)
    outputs.clear()
    describe_photos(network, photos, RULES, 64, "cpu")
    covariance = np.cov(np.concatenate(outputs).T)
    assert np.abs(covariance / covariance.trace() * 8 - np.eye(8)).max() < 0.02
    assert np.concatenate(outputs).mean(axis=0) == pytest.approx(np.zeros(8), abs=1e-2)


def with_statistics(name, **options):
    """A network with random weights and the statistics of real maps."""
    torch.manual_seed(0)
    network = create_model(name, **options).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 1.0
    with torch.no_grad():
        network(to_tensor(np.stack([texture(number, 64, 64) for number in range(30)]), RULES))
    return network.eval()


def outputs_of(network, name, photos):
    """What a module gives for the photos, cells of maps as rows."""
    outputs = []
    hook = network.get_submodule(name).register_forward_hook(lambda _, given, output: outputs.append(output))
    describe_photos(network, photos, RULES, 64, "cpu")
    hook.remove()
    rows = torch.cat(outputs)
    return (rows.flatten(2).mT.flatten(0, 1) if rows.ndim == 4 else rows).numpy()


@pytest.mark.parametrize(
    ("name", "options", "layers"),
    [
        ("dolg_mobilenetv2", {"width": 16, "hidden": 4, "dim": 8}, ("attention.bn", "reduce", "project")),
        ("glocal_mobilenetv2", {"width": 16, "hidden": 4, "dim": 8}, ("system.attention.bn", "system.project")),
        ("token_mobilenetv2", {"dim": 8, "heads": 2}, ("reduce.1", "aggregate.project.1")),
    ],
)
def test_every_layer_on_the_way_begins_whitened(photos, name, options, layers):
    network = with_statistics(name, **options)
    whiten_projections(network, photos, RULES, 64, "cpu", 0.5, 0)
    for layer in layers:
        rows = outputs_of(network, layer, photos)
        covariance = np.cov(rows.T)
        varied = np.diag(covariance) > 1e-3 * np.diag(covariance).max()
        assert varied.sum() >= 7
        spread = covariance[np.ix_(varied, varied)]
        assert np.abs(spread / np.diag(spread).mean() - np.eye(len(spread))).max() < 0.35  # a sample of the cells


def test_dolg_begins_by_passing_the_shallow_map_on(photos):
    """Without context: moving a far cell of c4 changes nothing here, and both signs of a component come through."""
    network = with_statistics("dolg_mobilenetv2", width=16, hidden=4, dim=8)
    whiten_projections(network, photos, RULES, 64, "cpu", 0.5, 0)
    c4 = torch.rand(1, 576, 20, 20)
    moved = c4.clone()
    moved[:, :, 10:, 10:] = torch.rand(1, 576, 10, 10)
    with torch.no_grad():
        maps, after = network.multi_atrous(c4), network.multi_atrous(moved)
        attention = network.attention(maps).attention
    assert torch.equal(maps[..., :10, :10], after[..., :10, :10])
    assert not torch.allclose(maps[..., 10:, 10:], after[..., 10:, 10:])
    assert (maps[:, :8] * maps[:, 8:] == 0).all()  # one of the two signs
    assert attention.max() == attention.min()


def test_local_descriptors_begin_whitened(photos):
    network = with_statistics("delg_mobilenetv2", local_dim=8, dim=8)
    before = network.whiten.weight.clone()
    whiten_projections(network, photos, RULES, 64, "cpu", 0, 0.5)
    covariance = np.cov(outputs_of(network, "local_head.encode", photos).T)
    assert np.abs(covariance / covariance.trace() * 8 - np.eye(8)).max() < 0.35
    assert torch.equal(network.whiten.weight, before)


def test_whitening_needs_a_linear_projection_and_enough_photos(photos):
    with pytest.raises(ConfigError, match=r"model\.whitening: no linear layer"):
        whiten_projections(create_model("gem_mobilenetv2", dim=0).eval(), photos, RULES, 64, "cpu", 0.5, 0)
    with pytest.raises(ConfigError, match=r"model\.local_whitening: this network has no local descriptors"):
        whiten_projections(create_model("gem_mobilenetv2", dim=8).eval(), photos, RULES, 64, "cpu", 0, 0.5)
    with pytest.raises(ConfigError, match="needs more than 64 photos"):
        whiten_projections(create_model("gem_mobilenetv2", dim=64).eval(), photos, RULES, 64, "cpu", 0.5, 0)


def test_a_class_begins_at_the_mean_of_its_photos(network, photos):
    vectors, labels = describe_photos(network, photos, RULES, 64, "cpu")
    head = ArcFaceHead(8, 10)
    imprint(head, network, photos, RULES, 64, "cpu")
    expected = np.stack([vectors[labels == label].mean(axis=0) for label in range(10)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert head.weight.detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_centres_of_a_class_begin_near_its_mean_but_apart(network, photos):
    plain, head = ArcFaceHead(8, 10), SubcentreHead(8, 10, num_centres=3)
    imprint(plain, network, photos, RULES, 64, "cpu")
    imprint(head, network, photos, RULES, 64, "cpu")
    cosines = nn.functional.cosine_similarity(head.weight, plain.weight[:, None], dim=2)
    assert cosines.min() > 0.7
    assert not torch.equal(head.weight[:, 0], head.weight[:, 1])


def saved(folder, name, **options):
    network = create_model(name, **options)
    save_model(folder, network, ModelConfig(name, options, preprocessing_of(name)))
    return network


def same(first, second):
    theirs = second.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in first.state_dict().items())


def test_a_model_of_the_same_name_gives_everything(tmp_path):
    old, new = saved(tmp_path / "model", "gem_mobilenetv2", dim=8), create_model("gem_mobilenetv2", dim=8)
    fill_from(new, "gem_mobilenetv2", tmp_path / "model")
    assert same(new, old)


def test_a_model_of_another_kind_gives_backbone_and_local_head(tmp_path):
    old, new = saved(tmp_path / "model", "delg_mobilenetv2"), create_model("glocal_mobilenetv2")
    fill_from(new, "glocal_mobilenetv2", tmp_path / "model")
    assert same(new.backbone, old.backbone)
    assert same(new.local_head, old.local_head)
    narrow = create_model("glocal_mobilenetv2", local_dim=16)
    fill_from(narrow, "glocal_mobilenetv2", tmp_path / "model")
    assert same(narrow.backbone, old.backbone)


def test_what_does_not_fit_is_told(tmp_path):
    saved(tmp_path / "model", "gem_mobilenetv2", dim=8)
    with pytest.raises(ConfigError, match="which does not fit gem_mobilenetv2 as the recipe has it"):
        fill_from(create_model("gem_mobilenetv2", dim=16), "gem_mobilenetv2", tmp_path / "model")
    with pytest.raises(ConfigError, match="which does not fit gem_resnet50"):
        fill_from(create_model("gem_resnet50", dim=8), "gem_resnet50", tmp_path / "model")
