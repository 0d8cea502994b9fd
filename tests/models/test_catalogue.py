import subprocess
import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from glocal.errors import ConfigError
from glocal.models import catalogue
from glocal.models.catalogue import (
    CATALOGUE,
    CLASSICAL_MODEL,
    DEFAULT_NETWORK,
    ModelCard,
    build_classical,
    canonical_name,
    create_model,
    default_model,
    find_model,
    list_models,
    preprocessing_of,
    register_model,
)
from glocal.models.cost import cost_of
from glocal.models.preprocessing import Preprocessing


def test_every_card_is_complete_and_says_how_its_model_is_fed():
    for name, card in CATALOGUE.items():
        assert card.name == name
        assert all((card.summary, card.paper, card.licence, card.trained_on))
        if card.is_network:
            assert card.preprocessing().scales
    assert CLASSICAL_MODEL in CATALOGUE


def test_every_network_is_built_with_the_length_that_its_descriptor_has():
    with torch.device("meta"):
        for name in list_models():
            if find_model(name).is_network:
                assert create_model(name).dim > 0


def test_the_classical_model_is_an_extractor_and_no_network():
    assert build_classical("rootsift").spec.model == "rootsift"
    with pytest.raises(ConfigError, match=r'"rootsift" is not a network\. → glocal\.load\("rootsift"\)'):
        create_model("rootsift")
    with pytest.raises(ConfigError, match="is a network"):
        build_classical("dolg_resnet50")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("dolg-r101", "dolg_resnet101"),
        ("DELG_R50", "delg_resnet50"),
        ("token-resnet50", "token_resnet50"),
        ("glocal-mnv2", "glocal_mobilenetv2"),
        ("gem_timm:convnext_tiny.in12k-x", "gem_timm:convnext_tiny.in12k-x"),
        ("rootsift", "rootsift"),
    ],
)
def test_hyphens_case_and_short_backbones_lead_to_the_same_name(asked, name):
    assert canonical_name(asked) == name


def test_a_mistyped_name_gets_the_nearest_ones():
    with pytest.raises(ConfigError, match=r'Unknown model "rootsfit"\. Did you mean rootsift\? → glocal models'):
        find_model("rootsfit")
    with pytest.raises(ConfigError, match=r'Unknown model "delg-r51"\. Did you mean delg_resnet50, delg_resnet101'):
        find_model("delg-r51")


def test_models_are_listed_by_pattern():
    assert list_models("dolg*") == ["dolg_mobilenetv2", "dolg_resnet101", "dolg_resnet50"]
    assert list_models("dolg-*") == list_models("dolg*")
    assert list_models("vit*") == []


def test_published_preprocessing_depends_on_the_variant():
    tf, torch_, token = (preprocessing_of("delg_resnet50", variant=variant) for variant in ("tf", "torch", "token"))
    assert (tf.mean[0], tf.std[0], tf.local.stride, tf.local.threshold) == (128, 128, 32, 454.6)
    assert preprocessing_of("delg_resnet50", subsample=False).local.stride == 16
    assert (torch_.local.threshold_rule, torch_.local.iou) == ("halving", 0.98)
    assert (token.resize, token.level_rule) == ("lanczos", "factor")
    assert preprocessing_of("dolg_resnet101").scales == (0.3535, 0.5, 0.7071, 1.0, 1.4142)
    assert preprocessing_of("delg_mobilenetv2").mean == (127.5, 127.5, 127.5)


def test_a_model_of_ones_own_works_by_its_name(monkeypatch):
    for table in ("CATALOGUE", "_BUILDERS", "_OWN_PREPROCESSING"):
        monkeypatch.setattr(catalogue, table, dict(getattr(catalogue, table)))

    class Mean(nn.Module):
        dim, local_dim = 3, 0

        def __init__(self, gain: float = 1.0) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(gain))

        def forward(self, images):
            return F.normalize(self.gain * images.mean(dim=(2, 3)), dim=1)

    card = ModelCard("mean-colour", "the mean colour", "none", "Apache-2.0", "nothing")
    assert register_model(card, Mean, Preprocessing(image_size=64)).name == "mean_colour"
    assert create_model("mean-colour", gain=2.0).gain.item() == 2.0
    assert preprocessing_of("mean_colour").image_size == 64
    assert "mean_colour" in list_models()
    with pytest.raises(ConfigError, match="There is a model"):
        register_model(card, Mean)


def test_an_installed_package_adds_its_models_by_an_entry_point(monkeypatch):
    for table in ("CATALOGUE", "_BUILDERS", "_OWN_PREPROCESSING"):
        monkeypatch.setattr(catalogue, table, dict(getattr(catalogue, table)))
    card = ModelCard("their-net", "of another package", "none", "MIT", "nothing")
    point = types.SimpleNamespace(load=lambda: lambda: register_model(card, nn.Identity))
    monkeypatch.setattr(
        catalogue.importlib.metadata, "entry_points", lambda group: [point] if group == "glocal.models" else []
    )
    catalogue._load_plugins.cache_clear()
    assert canonical_name("their-net") == "their_net"
    assert "their_net" in list_models()
    catalogue._load_plugins.cache_clear()


def test_the_cost_of_a_network_is_found_without_running_it():
    cost = cost_of("gem_resnet50", dim=16)
    assert (cost.dim, cost.local_dim) == (16, 0)
    assert cost.num_parameters == 23_508_032 + 2048 * 16 + 16 + 1
    # ResNet-50 is 4.1 GMAC at 224 x 224 (He et al.); pixels and scales multiply it.
    pixels = 1024 * 768 * sum(scale**2 for scale in preprocessing_of("gem_resnet50").scales)
    assert cost.gflop == pytest.approx(2 * 4.1 * pixels / 224**2, rel=0.02)


def test_reading_the_table_loads_no_torch():
    code = (
        "import sys, glocal.models.catalogue as c; c.list_models(); c.preprocessing_of('dolg-r50'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" not in loaded


def test_without_torch_networks_say_what_to_install_and_the_classical_model_works(tmp_path):
    """In a process whose path has no torch."""
    code = """
import importlib.abc, importlib.machinery, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torch" else real(name, package)
import glocal
from glocal.cli.main import main
from glocal.errors import BackendUnavailable
try:
    glocal.create_model("dolg_resnet50")
except BackendUnavailable as error:
    print(error)
print(main(["convert", "a.pth", "--as", "dolg-r50"]), main(["models", "dolg*", "--json"]), main(["models", "delg-r50"]))
print(glocal.load("rootsift").spec.model)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "dolg_resnet50 needs torch, and that is not installed. → pip install 'glocal[torch]'" in run.stdout
    assert "glocal convert needs torch" in run.stderr
    assert "5 0 0" in run.stdout
    assert run.stdout.rstrip().endswith("rootsift")


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("token_resnet50", {"heads": 0}),
        ("gem_mobilenetv2", {"dim": -5}),
        ("dolg_mobilenetv2", {"learn_p": "no"}),
        ("delg_mobilenetv2", {"attention_input": "deep"}),
        ("delg_mobilenetv2", {"pooled_map": "both"}),
        ("glocal_mobilenetv2", {"local_dim": "many"}),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(model, options):
    with pytest.raises(ConfigError):
        create_model(model, **options)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"image_size": -1}, "image_size"),
        ({"image_size": 1.5}, "image_size"),
        ({"std": [0.0, 1.0, 1.0]}, "std"),
        ({"std": [1.0]}, "std"),
        ({"mean": [float("nan"), 0.0, 0.0]}, "mean"),
        ({"scales": [1e9]}, "scales"),
        ({"scales": []}, "scales"),
        ({"scales": [1.0] * 100}, "scales"),
        ({"local_scales": ["1"]}, "local_scales"),
        ({"local": {"threshold": float("nan")}}, "threshold"),
        ({"local": {"threshold": "high"}}, "threshold"),
        ({"local": {"iou": 2}}, "iou"),
        ({"local": {"stride": 0}}, "stride"),
        ({"local": {"max_features": True}}, "max_features"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused_by_name(fields, named):
    with pytest.raises(ConfigError, match=named):
        Preprocessing.from_dict(fields)


def test_the_environment_names_the_default(monkeypatch):
    monkeypatch.setenv("GLOCAL_MODEL", "dolg_r50")
    assert default_model() == "dolg_r50"
    monkeypatch.delenv("GLOCAL_MODEL")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert default_model() == CLASSICAL_MODEL
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert default_model() == DEFAULT_NETWORK
