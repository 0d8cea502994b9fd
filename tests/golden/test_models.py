"""Every model against the numbers of its published implementation: stages, descriptors, losses, gradients."""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from glocal.models.catalogue import create_model
from glocal.models.official import convert_state, translate
from glocal.nn.margin_head import ArcFaceHead, CurricularHead
from glocal.ops.fusion import orthogonal_component
from glocal.train.objectives import GlobalObjective, JointObjective
from tests.golden import recipe

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared" / "golden"
DTYPES = [torch.float32, torch.float64]
BGR = ("bgr", [2, 1, 0])  # these repositories read BGR; our networks take RGB
RGB = ("rgb", [0, 1, 2])
TF = ("tf", [0, 1, 2])
# golden -> layout of the checkpoint, model, its options, colour order, pictures
MODELS = {
    "dolg_r50": ("dolg", "dolg_resnet50", {"multi_atrous": False}, BGR, "ab"),
    "dolg_r50_ma": ("dolg", "dolg_resnet50", {"multi_atrous": True}, BGR, "abe"),
    "dolg_r101": ("dolg", "dolg_resnet101", {"multi_atrous": False}, BGR, "ab"),
    "delg_torch_r50": ("delg_torch", "delg_resnet50", {"variant": "torch"}, BGR, "ab"),
    # The reference run used the code of 2021: its attention reads the decoded map and pools the shallow one.
    "delg_tf_r50": ("delg_tf", "delg_resnet50", {"attention_input": "decoded", "pooled_map": "shallow"}, TF, "abg"),
    "token_r50": ("token", "token_resnet50", {"dropout": 0.0, "drop_path": 0.0}, RGB, "ab"),
}
INPUTS = np.load(HERE / "inputs.npz")


@lru_cache(maxsize=1)
def golden(name: str) -> tuple[dict, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The description, the numbers, and the official weights."""
    folder = HERE if (HERE / f"{name}.npz").exists() else SHARED
    if not (folder / f"{name}.npz").exists():
        pytest.skip(f"{name}.npz lies only in the folder 'shared' beside the checkout")
    about = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as table:
        return about, dict(table), recipe.state(about)


def network_of(name: str, dtype: torch.dtype) -> nn.Module:
    layout, model, options, _, _ = MODELS[name]
    network = create_model(model, **options)
    state = convert_state(layout, {key: torch.from_numpy(value) for key, value in golden(name)[2].items()})
    missing = network.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return network.to(dtype).eval()


def picture(name: str, which: str, dtype: torch.dtype) -> Tensor:
    kind, order = MODELS[name][3]
    array = INPUTS[f"{which}/{kind}"]
    array = array.transpose(2, 0, 1) if kind == "tf" else array
    return torch.from_numpy(np.ascontiguousarray(array[order])).to(dtype)[None]


def training_batch(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    # In float32, as the published pipelines work, also before the reference runs in float64.
    images = INPUTS["train/images"].astype(np.float32)
    if MODELS[name][3] is TF:
        images = (images - 128) / 128
    else:
        mean, std = (np.array(values, np.float32) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        images = (images / np.float32(255) - mean) / std
    images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(dtype)
    return images, torch.from_numpy(INPUTS["train/labels"].copy()).long()


class Recorder:
    """Keeps what named modules gave in the last pass."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.seen: dict[str, Tensor] = {}

    def __enter__(self) -> "Recorder":
        def keep(name: str) -> Callable[..., None]:
            return lambda _module, _inputs, output: self.seen.__setitem__(name, output)

        self._hooks = [module.register_forward_hook(keep(name)) for name, module in self._network.named_modules()]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def __getitem__(self, name: str) -> Tensor:
        return self.seen[name]


def nhwc(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1)


def dolg_stages(seen: Recorder, output: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "stem", seen["backbone.maxpool"]
    yield "stage3", seen["backbone.layer3"]
    yield "stage4", seen["backbone.layer4"]
    if "multi_atrous" in seen.seen:
        yield "multi_atrous_pool", F.relu(seen["multi_atrous.image_pool"])
        yield "multi_atrous", seen["multi_atrous"]
    attention, projected = seen["attention"]
    local = attention * F.normalize(projected, dim=1)
    orthogonal = orthogonal_component(local, seen["reduce"])
    yield "attention", attention
    yield "local", local
    yield "gem", seen["pool"]
    yield "global", seen["reduce"]
    yield "orthogonal", orthogonal
    yield "orthogonal_pooled", orthogonal.mean(dim=(2, 3))
    yield "fused", torch.cat([seen["reduce"], orthogonal.mean(dim=(2, 3))], dim=1)
    yield "descriptor", seen["project"]
    yield "descriptor_l2", output


def delg_torch_stages(seen: Recorder, output) -> Iterator[tuple[str, Tensor]]:
    yield "stem", seen["backbone.maxpool"]
    yield "stage3", seen["backbone.layer3"]
    yield "stage4", seen["backbone.layer4"]
    yield "gem", seen["pool"]
    yield "local_projection", seen["local_head.attention.bn"]
    yield "local_pooled", output.pooled
    weights = golden("delg_torch_r50")[2]
    classifier = (torch.from_numpy(weights[f"att_cls.fc.{part}"]).to(output.pooled) for part in ("weight", "bias"))
    yield "local_logits", F.linear(output.pooled, *classifier)
    yield "local", output.local
    yield "attention", output.attention
    yield "descriptor", seen["whiten"]
    yield "descriptor_l2", output.descriptor


def delg_tf_stages(seen: Recorder, output) -> Iterator[tuple[str, Tensor]]:
    yield "block0", nhwc(F.relu(seen["backbone.bn1"]))
    yield "block0mp", nhwc(seen["backbone.maxpool"])
    yield "block1", nhwc(seen["backbone.layer1"])
    yield "block2", nhwc(seen["backbone.layer2"])
    yield "block3", nhwc(seen["backbone"].c4)
    yield "block4", nhwc(seen["backbone"].c5)
    yield "attention", nhwc(output.attention)
    yield "local", nhwc(output.local)
    yield "local_l2", nhwc(F.normalize(output.local, dim=1))
    yield "expanded", nhwc(F.relu(seen["local_head.decode"]))
    yield "local_pooled", output.pooled
    yield "gem", seen["pool"]
    yield "descriptor", seen["whiten"]
    yield "descriptor_l2", output.descriptor


def token_stages(seen: Recorder, output: Tensor) -> Iterator[tuple[str, Tensor]]:
    maps = seen["backbone"].c5

    def as_map(sequence: Tensor) -> Tensor:
        return sequence.mT.reshape(*sequence.shape[:1], -1, *maps.shape[2:])

    related = seen["aggregate.relate.0"]
    yield "stage3", seen["backbone.layer3"]
    yield "stage4", maps
    yield "projection", seen["reduce"]
    yield "encoder_attention", as_map(seen["aggregate.relate.0.attention"])
    yield "encoder", as_map(related)
    shares = seen._network.aggregate.tokenize.attend(related)
    yield "token_attention", shares.reshape(*shares.shape[:2], *maps.shape[2:])
    yield "tokens_raw", torch.einsum("bln,bnc->blc", shares, related)
    yield "tokens", seen["aggregate.tokenize"]
    yield "decoder1", seen["aggregate.refinements.0"]
    yield "decoder2", seen["aggregate.refinements.1"]
    yield "descriptor_raw", seen["aggregate.project"]
    yield "descriptor_l2", output


STAGES = {"dolg": dolg_stages, "delg_torch": delg_torch_stages, "delg_tf": delg_tf_stages, "token": token_stages}


def summaries(stage: str, value: np.ndarray, channels_last: bool) -> Iterator[tuple[str, np.ndarray]]:
    """A stage as the goldens may hold it: whole, or by mean, deviation and a slice of its channels."""
    yield stage, value
    yield f"{stage}.f64", value
    if value.ndim == 4:
        space, axis = ((1, 2), 3) if channels_last else ((2, 3), 1)
        yield f"{stage}.mean", value.mean(axis=space)
        yield f"{stage}.std", value.std(axis=space)
        step = max(1, value.shape[axis] // (8 if "block0" in stage else 32))
        yield f"{stage}.slice", np.take(value, range(0, value.shape[axis], step), axis)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_every_stage_is_that_of_the_published_implementation(name, dtype):
    about, want, _ = golden(name)
    network = network_of(name, dtype)
    layout, _, _, colour, pictures = MODELS[name]
    for which in pictures:
        expected = {key for key in want if key.startswith(f"{which}/") and "multiscale" not in key}
        expected = {key for key in expected if "keypoint" not in key}
        checked = set()
        with torch.no_grad(), Recorder(network) as seen:
            output = network(picture(name, which, dtype))
            values = {stage: value.numpy() for stage, value in STAGES[layout](seen, output)}
        for stage, value in values.items():
            for key, found in summaries(f"{which}/{stage}", value, colour is TF):
                if key not in want:
                    continue
                peak = np.abs(want[key]).max()
                if key.endswith(".f64") and dtype == torch.float64:
                    assert np.abs(found - want[key]).max() <= 1e-10 * peak, key
                elif not key.endswith(".f64"):
                    assert np.abs(found - want[key]).max() <= max(
                        10 * about["outputs"][key]["diff_f64"], 1e-5 * peak
                    ), key
                if stage == "descriptor_l2":
                    assert (found * want[key]).sum(axis=1).min() >= 1 - 1e-6
                checked.add(key)
        assert expected == checked, f"not compared: {sorted(expected - checked)}"


def objective_of(name: str, network: nn.Module, dtype: torch.dtype) -> GlobalObjective | JointObjective:
    about, _, weights = golden(name)
    config = about["config"]
    margin, scale, classes = config["margin"], config["scale"], config["num_classes"]

    def put(parameter: Tensor, value: np.ndarray) -> None:
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(value))

    if name == "token_r50":
        head = ArcFaceHead(network.dim, classes, margin, scale)
        put(head.weight, weights["classifier.weight"])
        return GlobalObjective(head).to(dtype)
    if name == "delg_tf_r50":
        head = ArcFaceHead(network.dim, classes, margin, float(weights["scale_factor"]), eps=0.0)
        put(head.weight, weights["cosine_weights"].T.copy())
        objective = JointObjective(head, network.local_head.pooled_channels, classes)
        put(objective.attention_classifier.weight, weights["attn_classification/kernel"].T.copy())
        put(objective.attention_classifier.bias, weights["attn_classification/bias"])
        return objective.to(dtype)
    head = CurricularHead(network.dim, classes, margin, scale)
    put(head.weight, weights["desc_cls.weight"])
    put(head.state, weights["desc_cls.t"])
    if not network.local_dim:
        return GlobalObjective(head).to(dtype)
    objective = JointObjective(head, network.local_head.pooled_channels, classes)
    put(objective.attention_classifier.weight, weights["att_cls.fc.weight"])
    put(objective.attention_classifier.bias, weights["att_cls.fc.bias"])
    return objective.to(dtype)


def parameter_of(layout: str, official: str, network: nn.Module, objective: nn.Module) -> Tensor:
    """Our parameter for an official name; classifiers lie in the objective."""
    found = translate(layout, official)
    if found is not None:
        return network.get_parameter(found.name)
    return {
        "desc_cls.weight": lambda: objective.head.weight,
        "classifier.weight": lambda: objective.head.weight,
        "cosine_weights": lambda: objective.head.weight,
        "att_cls.fc.weight": lambda: objective.attention_classifier.weight,
        "att_cls.fc.bias": lambda: objective.attention_classifier.bias,
        "attn_classification/kernel": lambda: objective.attention_classifier.weight,
        "attn_classification/bias": lambda: objective.attention_classifier.bias,
    }[official]()


def expect_gradients(name: str, suffix: str, network: nn.Module, objective: nn.Module, dtype: torch.dtype) -> None:
    about, want, _ = golden(name)
    names = about["train"]["grad_names"]
    no_grad = about["train"]["no_grad"]
    stopped = no_grad.get(suffix.lstrip("."), []) if isinstance(no_grad, dict) else no_grad
    parameters = [parameter_of(MODELS[name][0], each, network, objective) for each in names]
    for official, parameter in zip(names, parameters, strict=True):
        assert (parameter.grad is None) == (official in stopped), official
    grads = [torch.zeros(1) if p.grad is None else p.grad for p in parameters]
    found = {
        f"train/grad_norm{suffix}": np.array([float(g.norm()) for g in grads]),
        f"train/grad_sum{suffix}": np.array([float(g.sum()) for g in grads]),
    }
    for key, values in found.items():
        wanted = want[f"{key}.f64"] if dtype == torch.float64 else want[key]
        share = 1e-8 if dtype == torch.float64 else (2e-3 if "norm" in key else 3e-2)
        assert np.abs(values - wanted).max() <= share * np.abs(wanted).max(), key


def expect_value(name: str, key: str, found: Tensor, dtype: torch.dtype, share: float) -> None:
    _, want, _ = golden(name)
    wanted = want[f"{key}.f64"] if dtype == torch.float64 and f"{key}.f64" in want else want[key]
    limit = 1e-10 if dtype == torch.float64 and f"{key}.f64" in want else share
    found = found.detach().numpy()
    assert np.abs(found - wanted).max() <= limit * np.abs(wanted).max(), key


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith(("dolg", "token"))])
def test_one_training_pass_of_a_global_model_gives_the_published_loss_gradients_and_statistics(name, dtype):
    about, _, _ = golden(name)
    network = network_of(name, dtype).train()
    objective = objective_of(name, network, dtype).train()
    images, labels = training_batch(name, dtype)
    with Recorder(network) as seen, Recorder(objective) as judged:
        losses = objective(network(images), labels)
        losses.total.backward()
    expect_value(name, "train/loss", losses.total, dtype, 1e-5)
    expect_value(name, "train/logits", judged["head"], dtype, 5e-5)
    if name.startswith("dolg"):
        expect_value(name, "train/descriptor", seen["project"], dtype, 1e-4)
        expect_value(name, "train/t", objective.head.state, dtype, 1e-5)
    expect_gradients(name, "", network, objective, dtype)
    expect_statistics(name, about, network)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["delg_torch_r50", "delg_tf_r50"])
def test_the_three_losses_of_delg_reach_only_the_published_parameters(name, dtype):
    about, want, _ = golden(name)
    network = network_of(name, dtype).train()
    objective = objective_of(name, network, dtype).train()
    images, labels = training_batch(name, dtype)
    with Recorder(network) as seen, Recorder(objective) as judged:
        losses = objective(network(images), labels)
    expect_value(name, "train/loss_global", losses.global_, dtype, 1e-5)
    expect_value(name, "train/loss_local", losses.attention, dtype, 1e-5)
    expect_value(name, "train/logits_global", judged["head"], dtype, 5e-5)
    expect_value(name, "train/logits_local", judged["attention_classifier"], dtype, 5e-5)
    expect_value(name, "train/descriptor", seen["whiten"], dtype, 1e-4)
    attention = seen[""].attention
    expect_value(name, "train/attention", nhwc(attention) if name == "delg_tf_r50" else attention, dtype, 1e-4)
    total = "total" if "train/grad_norm.total" in want else "official"
    parts = {"global": losses.global_, "local": losses.attention, total: losses.total}
    if losses.reconstruction is not None:
        expect_value(name, "train/loss_reconstruction", losses.reconstruction, dtype, 1e-5)
        expect_value(name, "train/loss_total", losses.total, dtype, 1e-5)
        parts["reconstruction"] = losses.reconstruction
    for suffix, loss in parts.items():
        network.zero_grad()
        objective.zero_grad()
        loss.backward(retain_graph=True)
        expect_gradients(name, f".{suffix}", network, objective, dtype)
    expect_statistics(name, about, network)


def expect_statistics(name: str, about: dict, network: nn.Module) -> None:
    """Running means and variances after one pass, by their norms."""
    _, want, _ = golden(name)
    layout = MODELS[name][0]
    names = about["train"]["buffer_names"]
    norms = np.array([float(network.get_buffer(translate(layout, each).name).double().norm()) for each in names])
    assert np.abs(norms / want["train/buffer_norm"] - 1).max() <= 1e-5
