"""Names: every tensor of every golden checkpoint has its place, with its shape, and nothing else has."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glocal.errors import ConfigError, WeightsError
from glocal.models.catalogue import create_model
from glocal.models.official import (
    LAYOUTS,
    TRANSFORMS,
    Identity,
    Translation,
    apply,
    convert_state,
    identify,
    is_counter,
    is_training_only,
    translate,
)

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINTS = {
    "dolg_r50": Identity("dolg", "resnet50", {"multi_atrous": False, "learn_p": True}),
    "dolg_r50_ma": Identity("dolg", "resnet50", {"multi_atrous": True, "learn_p": True}),
    "dolg_r101": Identity("dolg", "resnet101", {"multi_atrous": False, "learn_p": True}),
    "delg_torch_r50": Identity("delg_torch", "resnet50", {"variant": "torch", "learn_p": True}),
    "delg_tf_r50": Identity("delg_tf", "resnet50", {"variant": "tf"}),
    "token_r50": Identity("token", "resnet50", {"tokenizer": "query"}),
}


def official_shapes(name: str) -> dict[str, list[int]]:
    about = json.loads((GOLDEN / f"{name}.json").read_text())
    return {entry["name"]: entry["shape"] for entry in about["state"]}


def expected_shapes(model: str, **options) -> dict[str, torch.Size]:
    with torch.device("meta"):
        network = create_model(model, **options)
    return {name: tensor.shape for name, tensor in network.state_dict().items() if not is_counter(name)}


@pytest.mark.parametrize(("name", "identity"), CHECKPOINTS.items())
def test_a_checkpoint_is_recognised_with_its_variant_and_depth(name, identity):
    assert identify(official_shapes(name)) == identity


@pytest.mark.parametrize(("name", "identity"), CHECKPOINTS.items())
def test_every_official_tensor_fills_exactly_our_network(name, identity):
    shapes = official_shapes(name)
    state = convert_state(identity.layout, {key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    expected = expected_shapes(f"{identity.family}_{identity.backbone}", **identity.options)
    assert {key: tensor.shape for key, tensor in state.items()} == expected


@pytest.mark.parametrize(("name", "identity"), CHECKPOINTS.items())
def test_what_is_left_over_is_for_training_only(name, identity):
    left = [key for key in official_shapes(name) if translate(identity.layout, key) is None]
    assert all(is_training_only(identity.layout, key) for key in left)
    assert {key.split(".")[0].split("/")[0] for key in left if not is_counter(key)} <= {
        *("desc_cls", "att_cls", "classifier", "attn_classification", "cosine_weights", "scale_factor")
    }


@pytest.mark.parametrize(
    ("layout", "official", "name", "transform"),
    [
        ("dolg", "globalmodel.stem.conv.weight", "backbone.conv1.weight", "flip_input"),
        ("dolg", "globalmodel.s3.b23.f.c_bn.running_var", "backbone.layer3.22.bn3.running_var", "copy"),
        ("dolg", "globalmodel.s2.b1.proj.weight", "backbone.layer2.0.downsample.0.weight", "copy"),
        ("dolg", "globalmodel.s2.b1.bn.bias", "backbone.layer2.0.downsample.1.bias", "copy"),
        ("dolg", "localmodel.aspp.im_pool.1.bias", "multi_atrous.image_pool.bias", "copy"),
        ("delg_torch", "globalmodel.head.pool.p", "pool.p", "copy"),
        ("delg_torch", "localmodel.bn.running_mean", "local_head.attention.bn.running_mean", "copy"),
        ("delg_tf", "backbone/l2a/bn_shortcut/gamma", "backbone.layer1.0.downsample.1.weight", "copy"),
        ("delg_tf", "backbone/l4w/conv2b/kernel", "backbone.layer3.22.conv2.weight", "kernel"),
        ("delg_tf", "model/backbone/embedding_layer/kernel:0", "whiten.weight", "transpose"),
        (
            "delg_tf",
            "autoencoder/conv2/kernel/.ATTRIBUTES/VARIABLE_VALUE",
            "local_head.decode.weight",
            "kernel",
        ),
        ("token", "backbone.block1.1.running_mean", "backbone.bn1.running_mean", "copy"),
        ("token", "tr.decoder.1.cross_attn.k.bias", "aggregate.refinements.1.cross_attention.key.bias", "copy"),
        ("token", "tr.tokens.weight", "aggregate.tokenize.score.weight", "linear"),
        ("delg_token", "whiten.weight", "whiten.weight", "linear"),
        ("delg_token", "attention.att_conv1.weight", "local_head.score.weight", "copy"),
        ("torchvision", "layer4.2.bn3.weight", "backbone.layer4.2.bn3.weight", "copy"),
        ("torchvision", "features.18.1.running_var", "backbone.features.18.1.running_var", "copy"),
    ],
)
def test_a_name_is_translated(layout, official, name, transform):
    assert translate(layout, official) == Translation(name, transform)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "key", ["", "x", "backbone", "globalmodel.s1.b1", "fc.weight.more", "tr.query\n", "features.1."]
)
def test_unknown_names_go_nowhere(layout, key):
    assert translate(layout, key) is None


def test_the_first_release_of_token_is_told_by_its_convolution():
    keys = [key for key in official_shapes("token_r50") if not key.startswith(("tr.query", "tr.token_norm"))]
    keys += ["tr.tokens.weight", "tr.tokens.bias", "tr.token_norm.weight", "tr.token_norm.bias"]
    assert identify(keys) == Identity("token", "resnet50", {"tokenizer": "conv"})
    assert set(expected_shapes("token_resnet50", tokenizer="conv")) == {
        target.name for key in keys if (target := translate("token", key))
    }


def test_a_checkpoint_without_a_learned_exponent_gets_a_fixed_one():
    dolg = [key for key in official_shapes("dolg_r50") if key != "pool_g.p"]
    assert identify(dolg).options == {"multi_atrous": False, "learn_p": False}
    delg = [key for key in official_shapes("delg_torch_r50") if not key.endswith("pool.p")]
    assert identify(delg).options == {"variant": "torch", "learn_p": False}


def test_the_delg_of_tokens_repository_fills_our_variant():
    blocks = {key: shape for key, shape in official_shapes("token_r50").items() if key.startswith("backbone.")}
    shapes = blocks | {
        "whiten.weight": [2048, 2048, 1, 1],
        "whiten.bias": [2048],
        "classifier_block5.weight": [100, 2048],
        "classifier_block4.weight": [100, 128],
        "attention.att_conv1.weight": [1, 1024, 1, 1],
        "reduction.weight": [128, 1024, 1, 1],
        "reduction.bias": [128],
    }
    assert identify(shapes) == Identity("delg_token", "resnet50", {"variant": "token"})
    state = convert_state("delg_token", {key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    assert {key: tensor.shape for key, tensor in state.items()} == expected_shapes("delg_resnet50", variant="token")


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "mobilenetv2"])
def test_plain_backbones_keep_their_names(name):
    ours = [key for key in expected_shapes(f"gem_{name}") if key.startswith("backbone.")]
    plain = [key.removeprefix("backbone.") for key in ours]
    assert identify([*plain, "fc.weight", "fc.bias"]) == Identity("torchvision", name, {})
    assert [translate("torchvision", key).name for key in plain] == ours


def test_nothing_known_is_nobody():
    assert identify(["a", "b.weight"]) is None
    assert identify([]) is None


def test_transforms_move_values_where_they_belong():
    values = torch.arange(2 * 3 * 1 * 1.0).reshape(2, 3, 1, 1)
    assert apply("flip_input", values)[1].flatten().tolist() == [5, 4, 3]
    assert apply("linear", values).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert apply("transpose", torch.arange(6.0).reshape(2, 3)).tolist() == [[0, 3], [1, 4], [2, 5]]
    kernel = np.random.default_rng(0).normal(size=(3, 5, 2, 4))  # height, width, in, out
    assert apply("kernel", torch.as_tensor(kernel))[3, 1, 2, 4] == kernel[2, 4, 1, 3]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_tensor_of_a_strange_rank_is_left_as_it_is(transform):
    assert apply(transform, torch.zeros(2, 3, 4)).shape == (2, 3, 4)


def test_arrays_are_converted_as_tensors_are():
    state = convert_state("delg_tf", {"backbone/embedding_layer/kernel": np.arange(6.0).reshape(2, 3)})
    assert state["whiten.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_tensor_that_comes_twice_is_refused():
    with pytest.raises(WeightsError, match="twice"):
        convert_state(
            "delg_tf",
            {"scale": torch.ones(1), "backbone/conv1/bias": torch.ones(1)}
            | {"model/backbone/conv1/bias": torch.ones(1)},
        )


def test_an_unknown_layout_is_told():
    with pytest.raises(ConfigError, match="Choose from dolg"):
        translate("caffe", "conv1")
