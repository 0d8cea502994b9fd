"""The table of models: name -> what it is, how to build it, how to feed it.

A name is `{family}_{backbone}`, such as `dolg_resnet101`; hyphens and underscores are the same, and so are
`r101` and `resnet101`. Reading the table loads no network library.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glocal.errors import BackendUnavailable, ConfigError, RetrievalError
from glocal.models.preprocessing import SEVEN_SCALES, LocalSelection, Preprocessing
from glocal.models.published import PUBLISHED

if TYPE_CHECKING:
    from torch import nn

CLASSICAL_MODEL = "rootsift"
"""Needs neither torch nor a download."""
DEFAULT_NETWORK = "delg_mobilenetv2"
"""Comes with the package and needs torch; of those in it the best on photos of sources that it has not seen."""
TIMM_PREFIX = "timm:"
PLUGIN_GROUP = "glocal.models"
"""Entry points of this group are functions without arguments that call `register_model`."""
_ALIASES = {"r50": "resnet50", "r101": "resnet101", "mnv2": "mobilenetv2"}
_SPOKEN_FLAGS = ("yes", "no", "on", "off", "true", "false", "0", "1")
_THREE_SCALES = (0.70710677, 1.0, 1.4142135)
_SQRT2_SCALES = (1.0, 2**0.5, 0.5**0.5)
_FIVE_SCALES = (0.3535, 0.5, 0.7071, 1.0, 1.4142)
# Chosen on training photos (docs/training-log.md): sides of 128 to 512 pixels, as large as things were in training.
# Levels that both kinds of features share are computed once.
_COMPACT_SCALES = (0.5, 0.70710677, 1.0)
_COMPACT_LOCAL_SCALES = (0.35355338, 0.5, 0.70710677, 1.0)
_C3_FIELDS = {"mobilenetv2": 59, "resnet50": 91, "resnet101": 91}
"""Pixels that a cell of c3 sees."""
_TORCH_DELG_SCALES = (0.25, 0.3535, 0.5, 0.7071, 1.0, 1.4142, 2.0)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of `glocal models`.

    Attributes:
        name: what `--model` takes.
        summary: what it is, in one sentence.
        paper: where it is published.
        licence: of this code, and of the weights if there are any in the package.
        trained_on: what the weights were learned from; "no weights in the package" where there are none.
        is_network: whether it is a torch network.
        builder: "module:function" that builds it.
        options: what the builder gets.
        published: mAP in percent that the authors reported, protocol -> value; see `glocal.models.published`.
    """

    name: str
    summary: str
    paper: str
    licence: str
    trained_on: str
    is_network: bool = True
    builder: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)

    def preprocessing(self, **options: Any) -> Preprocessing:
        """What a photo goes through before and after; options as for `create_model`."""
        return preprocessing_of(self.name, **options)


@dataclass(frozen=True, slots=True)
class _Family:
    builder: str
    summary: str
    paper: str
    options: dict[str, Any] = field(default_factory=dict)
    compact: dict[str, Any] = field(default_factory=dict)  # on a backbone without 1024 and 2048 channels


_DELG = "Cao, Araujo and Sim, ECCV 2020"
_DOLG = "Yang et al., ICCV 2021"
_TOKEN = "Wu et al., AAAI 2022"
# Chosen on training photos: the finer map verifies more pairs (docs/training-log.md).
_COMPACT_LOCAL: dict[str, Any] = {"local_map": "c3", "context": 2}
_FAMILIES = {
    "delg": _Family(
        "glocal.models.delg:delg",
        "global GeM descriptor and attentive local features; verified hits",
        _DELG,
        compact={"dim": 512, "hidden": 256},
    ),
    "dolg": _Family(
        "glocal.models.dolg:dolg",
        "local and global features fused orthogonally into one descriptor",
        _DOLG,
        compact={"width": 512, "hidden": 96},
    ),
    "token": _Family(
        "glocal.models.token:token",
        "visual tokens refined and joined into one descriptor",
        _TOKEN,
        compact={"dim": 256},
    ),
    "glocal": _Family(
        "glocal.models.glocal:glocal",
        "DOLG's or Token's descriptor and DELG's local features in one pass",
        f"{_DELG}; {_DOLG}; {_TOKEN}",
        compact={"local_hidden": 256},
    ),
    "gem": _Family(
        "glocal.models.baselines:pooled_backbone",
        "baseline: GeM pooling and whitening",
        "Radenović et al., TPAMI 2019",
        options={"pooling": "gem"},
        compact={"dim": 512},
    ),
    "rmac": _Family(
        "glocal.models.baselines:pooled_backbone",
        "baseline: regional maxima and whitening",
        "Tolias et al., ICLR 2016",
        options={"pooling": "rmac"},
        compact={"dim": 512},
    ),
    "spoc": _Family(
        "glocal.models.baselines:pooled_backbone",
        "baseline: mean pooling and whitening",
        "Babenko and Lempitsky, ICCV 2015",
        options={"pooling": "spoc"},
        compact={"dim": 512},
    ),
    "mac": _Family(
        "glocal.models.baselines:pooled_backbone",
        "baseline: maximum pooling and whitening",
        "Tolias et al., ICLR 2016",
        options={"pooling": "mac"},
        compact={"dim": 512},
    ),
}
_BACKBONES = ("resnet50", "resnet101", "mobilenetv2")


def _card(family: str, backbone: str) -> ModelCard:
    table = _FAMILIES[family]
    name = f"{family}_{backbone}"
    return ModelCard(
        name=name,
        summary=f"{table.summary}, on {backbone}",
        paper=table.paper,
        licence="Apache-2.0",
        trained_on="no weights in the package",
        builder=table.builder,
        options={"backbone": backbone} | table.options,
        published=PUBLISHED.get(name, {}),
    )


def _compact_options(card: ModelCard, options: Mapping[str, Any]) -> dict[str, Any]:
    """Smaller parts for a backbone without 1024 and 2048 channels; those of its global half for glocal."""
    family, _, backbone = card.name.partition("_")
    if card.name in _BUILDERS or backbone.startswith("resnet"):
        return {}
    if family == "delg" and options.get("variant", "tf") != "tf":
        return {"dim": _FAMILIES["delg"].compact["dim"]}  # the other variants have another local head
    half = _FAMILIES.get(options.get("system", "dolg")) if family == "glocal" else None
    local = _COMPACT_LOCAL if family in ("delg", "glocal") and backbone in _C3_FIELDS else {}
    return _FAMILIES[family].compact | (half.compact if half else {}) | local


_ROOTSIFT = ModelCard(
    name="rootsift",
    summary="RootSIFT local features, VLAD-64 global descriptor whitened to 256; in the package, no download",
    paper="Lowe 2004; Jégou et al. 2010; Arandjelović and Zisserman 2012, 2013",
    licence="Apache-2.0",
    trained_on="6,833 photos of public research sets; see models/weights/rootsift.md",
    is_network=False,
    builder="glocal.models.rootsift:RootSift",
)
CATALOGUE: dict[str, ModelCard] = {
    card.name: card for card in (_ROOTSIFT, *(_card(family, body) for family in _FAMILIES for body in _BACKBONES))
}
_BUILDERS: dict[str, Callable[..., nn.Module]] = {}
_OWN_PREPROCESSING: dict[str, Preprocessing] = {}


def register_model(
    card: ModelCard, build: Callable[..., nn.Module], preprocessing: Preprocessing | None = None
) -> ModelCard:
    """Add a network of your own; from then on its name works wherever a name is asked for.

    For the command line too if your package has an entry point in the group `glocal.models`: a function that
    calls this.

    Args:
        card: says what it is; `builder` may stay empty.
        build: called with the card's options and those of `create_model`; returns a network whose `forward`
            takes normalised RGB (B, 3, H, W) and gives (B, D) unit descriptors, or a `DelgOutput`; it has the
            attributes `dim` and `local_dim` (0 without local features).
        preprocessing: how to feed it; None is ImageNet's normalisation at one scale.

    Returns:
        The card, with its name in the canonical form.

    Raises:
        ConfigError: the name is taken.
    """
    card = dataclasses.replace(card, name=card.name.replace("-", "_").lower())
    if card.name in CATALOGUE:
        raise ConfigError(f'There is a model "{card.name}" already. → choose another name')
    CATALOGUE[card.name] = card
    _BUILDERS[card.name] = build
    _OWN_PREPROCESSING[card.name] = preprocessing or Preprocessing()
    return card


@functools.cache
def _load_plugins() -> None:
    """Let installed packages register their models: entry points of the group `glocal.models`, called once."""
    for point in importlib.metadata.entry_points(group=PLUGIN_GROUP):
        point.load()()


def canonical_name(name: str) -> str:
    """The name in the table: "dolg-r101" -> "dolg_resnet101".

    Raises:
        ConfigError: there is none of this name; the message names the nearest.
    """
    family, _, body = name.replace("-", "_").partition("_")
    family = family.lower()
    if body.startswith(TIMM_PREFIX) and family in _FAMILIES:
        return f"{family}_{TIMM_PREFIX}{name[len(family) + 1 + len(TIMM_PREFIX) :]}"
    plain = name.replace("-", "_").lower()
    full = f"{family}_{_ALIASES.get(body.lower(), body.lower())}" if body else plain
    if full not in CATALOGUE:
        _load_plugins()
    if full in CATALOGUE:
        return full
    near = difflib.get_close_matches(full, CATALOGUE, n=3, cutoff=0.5)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    raise ConfigError(f'Unknown model "{name}".{hint} → glocal models')


def default_model() -> str:
    """What describes photos when nobody says which model.

    That is `GLOCAL_MODEL` of the environment; else `DEFAULT_NETWORK`, where torch is installed, or `CLASSICAL_MODEL`.
    """
    has_torch = importlib.util.find_spec("torch") is not None
    return os.environ.get("GLOCAL_MODEL") or (DEFAULT_NETWORK if has_torch else CLASSICAL_MODEL)


def find_model(name: str) -> ModelCard:
    """Look a model up.

    Raises:
        ConfigError: there is none of this name; the message names the nearest.
    """
    name = canonical_name(name)
    if name in CATALOGUE:
        return CATALOGUE[name]
    family, _, body = name.partition("_")
    return _card(family, body)  # a timm backbone


def list_models(pattern: str = "*") -> list[str]:
    """Names that fit a shell pattern, such as "dolg*"; hyphens and underscores are the same."""
    _load_plugins()
    return sorted(name for name in CATALOGUE if fnmatch.fnmatch(name, pattern.replace("-", "_")))


def create_model(name: str, **options: Any) -> nn.Module:
    """Build a network with random weights; `glocal.load` gives one with weights, ready for photos.

    Args:
        name: a network of the table, or `{family}_timm:{name}` (extra `timm`).
        **options: what the family takes, such as `variant="torch"` (DELG), `multi_atrous=False` (DOLG),
            `tokenizer="conv"` (Token), `system="token"` (glocal), `dim=512`.

    Returns:
        The network, in training mode. `forward` takes normalised RGB (B, 3, H, W).

    Raises:
        ConfigError: there is none of this name, or it takes no such option.
        BackendUnavailable: torch, or another optional package, is missing.
    """
    card = find_model(name)
    if not card.is_network:
        raise ConfigError(f'"{card.name}" is not a network. → glocal.load("{card.name}")')
    require_torch(card.name)
    build = _BUILDERS.get(card.name) or _builder(card)
    defaults = card.options | _compact_options(card, options)
    for option, value in options.items():
        if isinstance(value, str) and value.lower() in _SPOKEN_FLAGS:  # any text counts as true
            raise ConfigError(f'{card.name}: {option} must be true or false, not the text "{value}"')
    try:
        network: nn.Module = build(**(defaults | options))
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        if isinstance(error, RetrievalError):
            raise
        raise ConfigError(f"{card.name} does not take these options: {error}") from error
    return network


def require_torch(what: str) -> None:
    """Make sure that networks can run.

    Args:
        what: needs them; for the message.

    Raises:
        BackendUnavailable: torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise BackendUnavailable(f"{what} needs torch, and that is not installed. → pip install 'glocal[torch]'")


def _builder(card: ModelCard) -> Callable[..., Any]:
    module, _, function = card.builder.partition(":")
    return getattr(importlib.import_module(module), function)


def build_classical(name: str) -> Any:
    """Build the extractor of a model that is no network.

    Raises:
        ConfigError: it is a network.
        WeightsError: its weights are damaged.
    """
    card = find_model(name)
    if card.is_network:
        raise ConfigError(f'"{card.name}" is a network. → glocal.load("{card.name}")')
    return _builder(card)()


def preprocessing_of(name: str, **options: Any) -> Preprocessing:
    """How the published system, or ours, feeds this model.

    The released DOLG and PyTorch DELG read photos at full size; ROxford's and RParis' are at most 1024 pixels
    long, so the limit of 1024 here changes nothing there, and keeps a phone's photos affordable.

    Args:
        name: as for `create_model`.
        **options: as for `create_model`; `variant`, `subsample`, `local_map` and `context` change the preprocessing.

    Raises:
        ConfigError: there is no such model, or `context` is no number.
    """
    name = canonical_name(name)
    if name in _OWN_PREPROCESSING:
        return _OWN_PREPROCESSING[name]
    family, _, body = name.partition("_")
    if family == "delg":
        published = _delg_preprocessing(body, options.get("variant", "tf"), options.get("subsample", True))
    elif family == "dolg":
        published = Preprocessing(scales=_FIVE_SCALES)
    elif family == "glocal":
        subsampled = options.get("resnet") == "keras_subsampled"
        local = LocalSelection(stride=32 if subsampled else 16, half_pixel=True)
        published = Preprocessing(scales=_THREE_SCALES, local_scales=(0.5, *_THREE_SCALES), local=local)
    else:
        published = Preprocessing(resize="lanczos", scales=_SQRT2_SCALES, level_rule="factor")
    published = _compact(published) if body == "mobilenetv2" else published
    chosen = (_compact_options(find_model(name), options) if family in ("delg", "glocal") else {}) | options
    context = chosen.get("context", 0)
    if not isinstance(context, int):
        raise ConfigError(f"{name}: context must be a number of blocks, not {context!r}")
    return dataclasses.replace(published, local=_locate(published.local, body, chosen.get("local_map", "c4"), context))


def _locate(local: LocalSelection, body: str, local_map: str, context: int) -> LocalSelection:
    """Where the cells of a local head's map lie, and what each of them sees."""
    if local_map == "c3" and body in _C3_FIELDS:
        local = dataclasses.replace(local, stride=8, receptive_field=_C3_FIELDS[body], padding=_C3_FIELDS[body] // 2)
    grown = 2 * context * local.stride
    return dataclasses.replace(local, receptive_field=local.receptive_field + grown, padding=local.padding + grown // 2)


def _delg_preprocessing(body: str, variant: str, subsample: bool) -> Preprocessing:
    if variant == "torch":
        local = LocalSelection(threshold=260.0, threshold_rule="halving", iou=0.98)
        return Preprocessing(scales=_TORCH_DELG_SCALES[3:6], local_scales=_TORCH_DELG_SCALES, local=local)
    if variant == "token":
        return Preprocessing(resize="lanczos", scales=_SQRT2_SCALES, local_scales=SEVEN_SCALES, level_rule="factor")
    stride = 32 if subsample and body.startswith("resnet") else 16
    # Thresholds of the weights published for GLDv2-clean: medians of the attention at the end of their training.
    threshold = {"resnet50": 454.6, "resnet101": 357.48}.get(body, 0.0)
    return Preprocessing(
        mean=(128.0, 128.0, 128.0),
        std=(128.0, 128.0, 128.0),
        resize="bilinear",
        scales=_THREE_SCALES,
        local_scales=SEVEN_SCALES,
        local=LocalSelection(stride=stride, threshold=threshold),
    )


def _compact(published: Preprocessing) -> Preprocessing:
    """The small backbone: its initialisation's normalisation, smaller pictures, its own receptive field."""
    grey = (127.5, 127.5, 127.5)
    local = dataclasses.replace(
        published.local, stride=16, receptive_field=267, padding=133, half_pixel=True, iou=1.0, threshold=0.0
    )
    return dataclasses.replace(
        published,
        mean=grey,
        std=grey,
        image_size=512,
        resize="area",
        scales=_COMPACT_SCALES,
        local_scales=_COMPACT_LOCAL_SCALES if published.local_scales else (),
        level_rule="size",
        local=local,
        query_turns=4,
        precision="bfloat16",
    )
