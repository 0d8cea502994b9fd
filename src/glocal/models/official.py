"""What the released checkpoints call their tensors, and what we call them.

| layout | checkpoints of | input planes |
|---|---|---|
| `dolg` | feymanpriv/DOLG | BGR: flipped here, because our pipeline is RGB |
| `delg_torch` | feymanpriv/DELG | BGR: flipped |
| `delg_tf` | the TensorFlow DELG of tensorflow/models, by TF2 object path | RGB |
| `token`, `delg_token` | MCC-WH/Token | RGB |
| `torchvision` | a ResNet or MobileNetV2 alone, classifier and all | RGB |

The names say the variant too, so nobody has to: depth, multi-atrous branch, learned exponent, tokenizer.
What they cannot say is what has no parameters: the stride of the TensorFlow DELG's shallow map (`subsample`)
and the order of Token's refinement (`refine_order`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal.errors import ConfigError, WeightsError

_TRANSFORMS: Mapping[str, tuple[int | None, Callable[[Tensor], Tensor]]] = {
    "copy": (None, lambda tensor: tensor),
    "flip_input": (4, lambda kernel: kernel.flip(1)),  # BGR planes -> RGB planes
    "linear": (4, lambda kernel: kernel.flatten(1)),  # 1x1 convolution (O, I, 1, 1) -> matrix (O, I)
    "kernel": (4, lambda kernel: kernel.permute(3, 2, 0, 1)),  # HWIO -> OIHW
    "transpose": (2, lambda matrix: matrix.T),  # (in, out) -> (out, in)
}
TRANSFORMS = tuple(_TRANSFORMS)
"""What can be done to a tensor on its way to us."""
_BLOCKS = {6: "resnet50", 23: "resnet101", 36: "resnet152"}  # blocks of the third stage
_NORM = r"(weight|bias|running_mean|running_var)"
_COUNTER = "num_batches_tracked"  # of batch normalisation; no effect on what a network computes


@dataclass(frozen=True, slots=True)
class Translation:
    """Where an official tensor goes.

    Attributes:
        name: of our parameter or buffer.
        transform: one of `TRANSFORMS`.
    """

    name: str
    transform: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The naming of one repository.

    Attributes:
        title: for people.
        family: of our catalogue; "" for a backbone alone.
        repository: where the checkpoints come from.
        normalise: brings a key into the form that the rules read.
        rules: (pattern of a whole key, our name, transform), the first that fits counts.
        training_only: pattern of keys that only training needs.
    """

    title: str
    family: str
    repository: str
    normalise: Callable[[str], str]
    rules: tuple[tuple[str, str, str], ...]
    training_only: str


def _from_pycls(key: str) -> str:
    """`globalmodel.s1.b1.f.a_bn.bias` -> `globalmodel.layer1.0.bn1.bias`."""
    key = re.sub(r"\.s(\d)\.b(\d+)\.", lambda m: f".layer{m[1]}.{int(m[2]) - 1}.", key)
    return re.sub(r"\.f\.([abc])(_bn)?\.", lambda m: f".{'bn' if m[2] else 'conv'}{'abc'.index(m[1]) + 1}.", key)


def _from_blocks(key: str) -> str:
    """`backbone.block2.0.conv1.weight` -> `backbone.layer1.0.conv1.weight`."""
    return re.sub(r"^backbone\.block([2-5])\.", lambda m: f"backbone.layer{int(m[1]) - 1}.", key)


def _from_tensorflow(key: str) -> str:
    """`model/backbone/l2a/bn2a/gamma/.ATTRIBUTES/VARIABLE_VALUE` -> `backbone/layer1.0.bn1/weight`."""
    key = key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE").removesuffix(":0").removeprefix("model/")
    key = re.sub(r"/l([2-5])([a-w])/", lambda m: f"/layer{int(m[1]) - 1}.{ord(m[2]) - ord('a')}.", key)
    key = re.sub(r"\.(conv|bn)2([abc])/", lambda m: f".{m[1]}{'abc'.index(m[2]) + 1}/", key)
    key = key.replace(".conv_shortcut/", ".downsample.0/").replace(".bn_shortcut/", ".downsample.1/")
    for theirs, ours in _TENSORFLOW_LEAVES.items():
        key = re.sub(f"/{theirs}$", f"/{ours}", key)
    return key


_TENSORFLOW_LEAVES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_PYCLS = (
    (r"globalmodel\.stem\.conv\.weight", "backbone.conv1.weight", "flip_input"),
    (rf"globalmodel\.stem\.bn\.{_NORM}", r"backbone.bn1.\1", "copy"),
    (r"globalmodel\.(layer\d\.\d+)\.proj\.weight", r"backbone.\1.downsample.0.weight", "copy"),
    (rf"globalmodel\.(layer\d\.\d+)\.bn\.{_NORM}", r"backbone.\1.downsample.1.\2", "copy"),
    (rf"globalmodel\.(layer\d\.\d+\.(?:conv|bn)[123])\.{_NORM}", r"backbone.\1.\2", "copy"),
)
_BLOCK_NAMES = (
    (r"backbone\.block1\.0\.weight", "backbone.conv1.weight", "copy"),
    (rf"backbone\.block1\.1\.{_NORM}", r"backbone.bn1.\1", "copy"),
    (rf"(backbone\.layer\d\.\d+\.(?:conv[123]|bn[123]|downsample\.[01])\.{_NORM})", r"\1", "copy"),
)


def _attention(theirs: str, ours: str) -> tuple[tuple[str, str, str], ...]:
    names = {"q": "query", "k": "key", "v": "value", "proj": "project"}
    return tuple((rf"{theirs}\.{n}\.(weight|bias)", rf"{ours}.{name}.\g<2>", "copy") for n, name in names.items())


LAYOUTS: Mapping[str, Layout] = {
    "dolg": Layout(
        "DOLG",
        "dolg",
        "feymanpriv/DOLG",
        _from_pycls,
        (
            *_PYCLS,
            (r"pool_g\.p", "pool.p", "copy"),
            (r"fc_t\.(weight|bias)", r"reduce.\1", "copy"),
            (r"fc\.(weight|bias)", r"project.\1", "copy"),
            (r"localmodel\.aspp\.aspp\.([0-3])\.(weight|bias)", r"multi_atrous.branches.\1.\2", "copy"),
            (r"localmodel\.aspp\.im_pool\.1\.(weight|bias)", r"multi_atrous.image_pool.\1", "copy"),
            (r"localmodel\.aspp\.conv_after\.0\.(weight|bias)", r"multi_atrous.merge.\1", "copy"),
            (rf"localmodel\.(conv1|bn|conv2)\.{_NORM}", r"attention.\1.\2", "copy"),
        ),
        r"desc_cls\..*",
    ),
    "delg_torch": Layout(
        "DELG, PyTorch port",
        "delg",
        "feymanpriv/DELG",
        _from_pycls,
        (
            *_PYCLS,
            (r"globalmodel\.head\.pool\.p", "pool.p", "copy"),
            (r"globalmodel\.head\.fc\.(weight|bias)", r"whiten.\1", "copy"),
            (rf"localmodel\.(conv1|bn|conv2)\.{_NORM}", r"local_head.attention.\1.\2", "copy"),
        ),
        r"(desc_cls|att_cls)\..*",
    ),
    "delg_tf": Layout(
        "DELG, TensorFlow",
        "delg",
        "tensorflow/models research/delf",
        _from_tensorflow,
        (
            (r"backbone/conv1/kernel", "backbone.conv1.weight", "kernel"),
            (r"backbone/conv1/bias", "backbone.conv1.bias", "copy"),
            (rf"backbone/bn_conv1/{_NORM}", r"backbone.bn1.\1", "copy"),
            (r"backbone/(layer\d\.\d+\.(?:conv[123]|downsample\.0))/kernel", r"backbone.\1.weight", "kernel"),
            (r"backbone/(layer\d\.\d+\.(?:conv[123]|downsample\.0))/bias", r"backbone.\1.bias", "copy"),
            (rf"backbone/(layer\d\.\d+\.(?:bn[123]|downsample\.1))/{_NORM}", r"backbone.\1.\2", "copy"),
            (r"backbone/embedding_layer/kernel", "whiten.weight", "transpose"),
            (r"backbone/embedding_layer/bias", "whiten.bias", "copy"),
            (r"attention/(conv[12])/kernel", r"local_head.attention.\1.weight", "kernel"),
            (r"attention/(conv[12])/bias", r"local_head.attention.\1.bias", "copy"),
            (rf"attention/bn_conv1/{_NORM}", r"local_head.attention.bn.\1", "copy"),
            (r"autoencoder/conv1/kernel", "local_head.encode.weight", "kernel"),
            (r"autoencoder/conv1/bias", "local_head.encode.bias", "copy"),
            (r"autoencoder/conv2/kernel", "local_head.decode.weight", "kernel"),
            (r"autoencoder/conv2/bias", "local_head.decode.bias", "copy"),
        ),
        r"attn_classification/.*|cosine_weights|scale_factor|save_counter|optimizer/.*|.*/\.OPTIMIZER_SLOT/.*",
    ),
    "token": Layout(
        "Token",
        "token",
        "MCC-WH/Token",
        _from_blocks,
        (
            *_BLOCK_NAMES,
            (r"tr\.conv\.0\.(weight|bias)", r"reduce.0.\1", "copy"),
            (rf"tr\.conv\.1\.{_NORM}", r"reduce.1.\1", "copy"),
            *_attention(r"tr\.encoder\.(\d+)\.attn", r"aggregate.relate.\1.attention"),
            (rf"tr\.encoder\.(\d+)\.bn\.{_NORM}", r"aggregate.relate.\1.norm.\2", "copy"),
            (r"tr\.encoder\.(\d+)\.mlp\.(weight|bias)", r"aggregate.relate.\1.linear.\2", "copy"),
            (r"tr\.query", "aggregate.tokenize.query", "copy"),
            (r"tr\.token_norm\.0\.(weight|bias)", r"aggregate.tokenize.linear.\1", "copy"),
            (r"tr\.token_norm\.1\.(weight|bias)", r"aggregate.tokenize.norm.\1", "copy"),
            # The first release: a 1x1 convolution instead of queries.
            (r"tr\.tokens\.weight", "aggregate.tokenize.score.weight", "linear"),
            (r"tr\.tokens\.bias", "aggregate.tokenize.score.bias", "copy"),
            (r"tr\.token_norm\.(weight|bias)", r"aggregate.tokenize.norm.\1", "copy"),
            *_attention(r"tr\.decoder\.(\d+)\.self_attn", r"aggregate.refinements.\1.self_attention"),
            *_attention(r"tr\.decoder\.(\d+)\.cross_attn", r"aggregate.refinements.\1.cross_attention"),
            (r"tr\.decoder\.(\d+)\.bn([12])\.(weight|bias)", r"aggregate.refinements.\1.norm\2.\3", "copy"),
            (r"tr\.decoder\.(\d+)\.mlp\.fc1\.(weight|bias)", r"aggregate.refinements.\1.mlp.0.\2", "copy"),
            (r"tr\.decoder\.(\d+)\.mlp\.fc2\.(weight|bias)", r"aggregate.refinements.\1.mlp.3.\2", "copy"),
            (r"tr\.proj\.0\.(weight|bias)", r"aggregate.project.0.\1", "copy"),
            (rf"tr\.proj\.1\.{_NORM}", r"aggregate.project.1.\1", "copy"),
        ),
        r"classifier\..*",
    ),
    "delg_token": Layout(
        "DELG of Token's repository",
        "delg",
        "MCC-WH/Token",
        _from_blocks,
        (
            *_BLOCK_NAMES,
            (r"whiten\.weight", "whiten.weight", "linear"),
            (r"whiten\.bias", "whiten.bias", "copy"),
            (r"attention\.att_conv1\.weight", "local_head.score.weight", "copy"),
            (r"reduction\.(weight|bias)", r"local_head.encode.\1", "copy"),
        ),
        r"classifier_block[45]\..*",
    ),
    "torchvision": Layout(
        "backbone alone, torchvision's names",
        "",
        "torchvision",
        str,
        (
            (
                rf"((?:conv1|bn1|layer\d\.\d+\.(?:conv[123]|bn[123]|downsample\.[01]))\.{_NORM})",
                r"backbone.\1",
                "copy",
            ),
            (rf"(features\.\d+\.(?:[a-z0-9]+\.)*{_NORM})", r"backbone.\1", "copy"),
        ),
        r"(fc|classifier)\..*",
    ),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a checkpoint is, judged by the names of its tensors.

    Attributes:
        layout: a key of `LAYOUTS`.
        backbone: "resnet50", "resnet101", "mobilenetv2", or "" if the names do not say.
        options: those that `create_model` needs for this variant.
    """

    layout: str
    backbone: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Of our catalogue; "" for a backbone alone."""
        return LAYOUTS[self.layout].family

    @property
    def title(self) -> str:
        """For people: "resnet50 DELG, PyTorch port"."""
        return f"{self.backbone} {LAYOUTS[self.layout].title}".strip()


def translate(layout: str, official: str) -> Translation | None:
    """Where an official tensor goes.

    Args:
        layout: a key of `LAYOUTS`.
        official: key of the checkpoint, without what distributed training put before it (`module.`).

    Returns:
        Our name and what is done to the values; None if only training needs it, or if nobody knows it.

    Raises:
        ConfigError: there is no such layout.
    """
    names = _layout(layout)
    if is_training_only(layout, official):
        return None
    key = names.normalise(official)
    for pattern, ours, transform in names.rules:
        match = re.fullmatch(pattern, key)
        if match:
            return Translation(match.expand(ours), transform)
    return None


def is_training_only(layout: str, official: str) -> bool:
    """Whether a key is one that only training needs: classifiers, counters, the optimiser's state."""
    names = _layout(layout)
    return is_counter(official) or re.fullmatch(names.training_only, names.normalise(official)) is not None


def is_counter(name: str) -> bool:
    """Whether it counts batches (theirs or ours), which has no effect on what a network computes."""
    return name.rpartition(".")[2] == _COUNTER


def apply(transform: str, tensor: Tensor) -> Tensor:
    """Do what a translation asks for; a tensor of another rank than it needs is left as it is, and fits nowhere."""
    rank, change = _TRANSFORMS[transform]
    return change(tensor) if rank in (None, tensor.ndim) else tensor


def convert_state(layout: str, tensors: Mapping[str, Tensor | np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    """Rename and transform a whole checkpoint.

    Args:
        layout: a key of `LAYOUTS`.
        tensors: official key -> values.

    Returns:
        Our name -> values of the same dtype; without what only training needs or nobody knows. No copies
        are made where the values stay as they are.

    Raises:
        ConfigError: there is no such layout.
        WeightsError: two keys mean the same tensor.
    """
    state: dict[str, Tensor] = {}
    for official, values in tensors.items():
        target = translate(layout, official)
        if target is None:
            continue
        if target.name in state:
            raise WeightsError(f"the checkpoint holds {target.name} twice (the second time as {official[:100]!r})")
        state[target.name] = apply(target.transform, torch.as_tensor(values))
    return state


def identify(keys: Iterable[str]) -> Identity | None:
    """Say whose checkpoint this is; None if no key is known.

    Args:
        keys: official names, without `module.`.
    """
    keys = list(keys)
    found = {layout: {t.name for t in (translate(layout, key) for key in keys) if t} for layout in LAYOUTS}
    layout = max(found, key=lambda name: len(found[name]))  # the first of equals
    names = found[layout]
    if not names:
        return None
    return Identity(layout, _backbone(names), _options(layout, names))


def _backbone(names: set[str]) -> str:
    if any(name.startswith("backbone.features.") for name in names):
        return "mobilenetv2"
    blocks = {name.split(".")[2] for name in names if name.startswith("backbone.layer3.")}
    return _BLOCKS.get(len(blocks), "")


def _options(layout: str, names: set[str]) -> dict[str, Any]:
    if layout == "dolg":
        has_branch = any(name.startswith("multi_atrous.") for name in names)
        return {"multi_atrous": has_branch, "learn_p": "pool.p" in names}
    if layout == "delg_torch":
        return {"variant": "torch", "learn_p": "pool.p" in names}
    if layout == "token":
        return {"tokenizer": "conv" if "aggregate.tokenize.score.weight" in names else "query"}
    return {"variant": layout.removeprefix("delg_")} if layout.startswith("delg_") else {}


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise ConfigError(f'There is no layout "{name}". Choose from {", ".join(LAYOUTS)}.')
    return LAYOUTS[name]
