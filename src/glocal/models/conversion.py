"""A released checkpoint -> a model's folder, and the proof that nothing was lost on the way.

The proof compares, on 16 probe pictures, the network filled from the checkpoint in memory, run in float64, with
the network that was read back from the folder, run in float32. It shows that saving, loading and single
precision change nothing. That our network computes what the published one does is another matter: the golden
tests show it.
"""

from __future__ import annotations

import copy
import hashlib
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from glocal.errors import ConfigError, WeightsError
from glocal.models.catalogue import canonical_name, create_model, find_model, preprocessing_of
from glocal.models.checkpoint import read_checkpoint, shape_text
from glocal.models.official import (
    LAYOUTS,
    Identity,
    convert_state,
    identify,
    is_counter,
    is_training_only,
    translate,
)
from glocal.models.probes import NUM_PROBES, least_cosine, probe_answers
from glocal.models.weights import (
    ModelConfig,
    add_to_fingerprint,
    load_model,
    publish,
    read_fingerprint,
    save_model,
    staging,
    unfit,
)

PARITY = 0.9999
_DIGITS = 6  # of a stored number; descriptors have unit norm


@dataclass(frozen=True, slots=True)
class Conversion:
    """A checkpoint in memory, as our network.

    Attributes:
        network: in evaluation mode, float32.
        config: name, options, preprocessing, card.
        source: file name, SHA-256, layout: plain values.
        matched: our tensors that were filled from the file.
        renamed: those of them that the file calls by another name.
        missing: our tensors that keep random values; only with `partial`.
        unused: official key -> "training only" or "unknown".
    """

    network: nn.Module
    config: ModelConfig
    source: dict[str, Any]
    matched: int
    renamed: int
    missing: tuple[str, ...] = ()
    unused: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """One line: "276 tensors matched · 276 renamed · 0 missing · 2 unused (desc_cls.*: training only)"."""
        reasons: dict[str, list[str]] = {}
        plain = LAYOUTS[self.source["layout"]].normalise
        for key, why in self.unused.items():
            first, *rest = re.split(r"[./]", plain(key))
            group = f"{first[:40]}.*" if rest else first[:40]
            if group not in reasons.setdefault(why, []):
                reasons[why].append(group)
        listed = "; ".join(
            f"{', '.join(groups[:4])}{f' and {len(groups) - 4} more' if len(groups) > 4 else ''}: {why}"
            for why, groups in reasons.items()
        )
        return (
            f"{self.matched} tensors matched · {self.renamed} renamed · {len(self.missing)} missing · "
            f"{len(self.unused)} unused{f' ({listed})' if listed else ''}"
        )


def convert(path: Path, name: str, options: Mapping[str, Any] | None = None, partial: bool = False) -> Conversion:
    """Read a released checkpoint as one of our networks.

    The variant is taken from the file's tensors.

    Args:
        path: see `glocal.models.checkpoint.read_checkpoint`.
        name: of the catalogue, such as "dolg-r101".
        options: of `create_model`, for what the tensors do not say; those that contradict them are refused.
        partial: leave random values (of a fixed seed) where the file has none, and unknown tensors out.

    Returns:
        The network, and what became of every tensor.

    Raises:
        ConfigError: no such file, model or option, or the file says otherwise.
        WeightsError: the file cannot be read, or is of another model.
        BackendUnavailable: a package is missing.
    """
    card = find_model(name)
    if not card.is_network:
        raise ConfigError(f"{card.name} is no network: there is nothing to convert. → glocal models")
    official = read_checkpoint(path)
    found = identify(official)
    chosen = _options(path, name, found, dict(options or {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create_model(card.name, **chosen).eval()
    layout = found.layout if found else ""
    body = _backbone_prefix(network)
    state = {_placed(ours, body): values for ours, values in convert_state(layout, official).items()} if found else {}
    expected = {ours: values for ours, values in network.state_dict().items() if not is_counter(ours)}
    problems = unfit(expected, state)
    unused = _unused(layout, official, expected, body)
    unknown = [key for key, why in unused.items() if why == "unknown"]
    matched = [ours for ours in expected if ours not in problems]
    other_body = found is not None and found.backbone not in ("", canonical_name(name).partition("_")[2])
    if not matched or ((problems or unknown) and (other_body or not partial)):
        if problems:
            why = f"{len(problems)} of {len(expected)} tensors do not fit (first: {next(iter(problems.values()))})"
        else:
            first = f"{unknown[0][:100]}, {shape_text(tuple(official[unknown[0]].shape))}"
            why = f"a {name} has no place for {len(unknown)} of its tensors (first: {first})"
        raise _misfit(path, name, why, found, official)
    with torch.no_grad():
        for ours in matched:
            expected[ours].copy_(state[ours])  # state_dict() holds the parameters themselves
    names = {target.name for key in official if (target := translate(layout, key)) and target.name == key}
    return Conversion(
        network=network,
        config=ModelConfig(
            name=canonical_name(name),
            options=chosen,
            preprocessing=preprocessing_of(name, **chosen),
            card=_card(name, layout, chosen, tuple(problems)),
        ),
        source={"file": path.name, "sha256": _digest(path), "layout": layout},
        matched=len(matched),
        renamed=len(matched) - len(names & set(matched)),
        missing=tuple(problems),
        unused=unused,
    )


def install(conversion: Conversion, directory: Path) -> float:
    """Save a conversion, read it back, compare; the folder appears only if both agree.

    Args:
        conversion: what `convert` gave.
        directory: where the model goes; a model in it is replaced.

    Returns:
        The least cosine between the two networks' answers to a probe picture; see the module.

    Raises:
        WeightsError: it is below 0.9999, or tensors hold NaN.
        ConfigError: the folder holds other things, or cannot be written.
        DiskFull: no space is left.
    """
    stage = staging(directory)
    try:
        save_model(stage, conversion.network, conversion.config, conversion.source)
        again, _, _ = load_model(stage)
        rules = conversion.config.preprocessing
        exact = probe_answers(copy.deepcopy(conversion.network).double(), rules)
        answers = probe_answers(again, rules)
        cosine = min(least_cosine(exact[part], answers[part]) for part in exact)
        if not cosine >= PARITY:  # NaN is not
            raise WeightsError(
                f"{directory}: the saved network does not answer as the checkpoint does (cosine {cosine:.5f} on "
                f"{NUM_PROBES} probe pictures, at least {PARITY} expected). Not saved."
            )
        rows = [[round(float(value), _DIGITS) for value in row] for row in exact["descriptor"]]
        add_to_fingerprint(stage, parity=cosine, probes={"count": NUM_PROBES, "descriptors": rows})
        publish(stage, directory)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return cosine


def verify(directory: Path) -> float:
    """Ask a model's folder about the probe pictures again.

    Returns:
        The least cosine between what it answers now and what was stored at its conversion.

    Raises:
        WeightsError: the model cannot be loaded, or stored no answers.
    """
    network, config, _ = load_model(directory)
    try:
        stored = np.array(read_fingerprint(directory)["probes"]["descriptors"], np.float64)
        return least_cosine(stored, probe_answers(network, config.preprocessing)["descriptor"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{directory} stores no answers to the probe pictures. → glocal convert it again") from error


def load_backbone(network: nn.Module, path: Path) -> int:
    """Initialise the backbone of a network from a checkpoint: a backbone alone, or that of a released model.

    Args:
        network: has an attribute `backbone`; changed in place, entirely or not at all.
        path: see `glocal.models.checkpoint.read_checkpoint`.

    Returns:
        How many tensors were filled.

    Raises:
        ConfigError: no such file, or the network has no backbone.
        WeightsError: the file cannot be read, or its backbone is another.
    """
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError("the network has no backbone")
    official = read_checkpoint(path)
    found = identify(official)
    state = convert_state(found.layout, official) if found else {}
    inside = {ours.removeprefix("backbone."): values for ours, values in state.items() if ours.startswith("backbone.")}
    expected = {ours: values for ours, values in backbone.state_dict().items() if not is_counter(ours)}
    problems = unfit(expected, inside) | {key: f"{key} is not known" for key in inside if key not in expected}
    if problems:
        raise WeightsError(
            f"{path} does not hold this backbone: {len(problems)} of {len(expected)} tensors do not fit "
            f"(first: {next(iter(problems.values()))}).{_looks_like(found)}"
        )
    with torch.no_grad():
        for ours, values in expected.items():
            values.copy_(inside[ours])
    return len(expected)


def _options(path: Path, name: str, found: Identity | None, asked: dict[str, Any]) -> dict[str, Any]:
    """The options of the file, and those asked for that do not contradict it."""
    same_family = found is not None and found.family == _family(name)
    known = dict(found.options) if found and same_family else {}
    for key, value in known.items():
        if key in asked and asked[key] != value:
            raise ConfigError(
                f"{path} is a {found.title if found else name} with {setting_text(key, value)}, judged by its tensors; "
                f"{setting_text(key, asked[key])} contradicts it. → leave {setting_text(key, asked[key])} out"
            )
    return known | asked


def setting_text(key: str, value: Any) -> str:
    """("multi_atrous", True) -> "multi_atrous=true", as it is typed."""
    return f"{key}={str(value).lower() if isinstance(value, bool) else value}"


def _family(name: str) -> str:
    return canonical_name(name).partition("_")[0]


def _backbone_prefix(network: nn.Module) -> str:
    """Where the backbone lies: "backbone", or "system.backbone" in a composed network."""
    body = getattr(network, "backbone", None)
    return next((place for place, module in network.named_modules() if module is body), "backbone")


def _placed(ours: str, body: str) -> str:
    return f"{body}.{ours.removeprefix('backbone.')}" if ours.startswith("backbone.") else ours


def _unused(layout: str, official: Mapping[str, Tensor], expected: Mapping[str, Tensor], body: str) -> dict[str, str]:
    """Official keys that found no place, counters of batches aside."""
    unused = {}
    for key in official:
        target = translate(layout, key) if layout else None
        if target is not None and _placed(target.name, body) in expected:
            continue
        if is_counter(key):
            continue
        unused[key] = "training only" if layout and is_training_only(layout, key) else "unknown"
    return unused


def _misfit(path: Path, name: str, why: str, found: Identity | None, official: Mapping[str, Tensor]) -> WeightsError:
    """Row 9 of the messages: how much does not fit, what it looks like, what to type."""
    text = f"{path} is not a {name}: {why}."
    if found is None:
        return WeightsError(
            f"{text} No name in it is known ({', '.join(key[:60] for key in list(official)[:3])}, ...). "
            f"→ give a checkpoint of {', '.join(dict.fromkeys(names.repository for names in LAYOUTS.values()))}"
        )
    family, _, body = canonical_name(name).partition("_")
    if found.backbone == body and found.family in ("", family):
        about = "" if found.family else _looks_like(found)
        return WeightsError(f"{text}{about} → --partial keeps random values where it has none, and leaves the rest out")
    short = f"{found.family}-{found.backbone.replace('resnet', 'r')}"
    known = found.family and found.backbone in ("resnet50", "resnet101")
    return WeightsError(
        f"{text}{_looks_like(found)}{f' → glocal convert {shlex.quote(str(path))} --as {short}' if known else ''}"
    )


def _looks_like(found: Identity | None) -> str:
    return f" It looks like {found.title}." if found else ""


def _card(name: str, layout: str, options: Mapping[str, Any], missing: tuple[str, ...]) -> dict[str, Any]:
    card = find_model(name)
    names = LAYOUTS[layout]
    notes = []
    # The numbers belong to certain weights: those of the authors' own code, without the multi-atrous branch.
    reported = layout in ("dolg", "delg_tf", "token") and not missing and not options.get("multi_atrous")
    if missing:
        notes.append(
            f"**Not a whole model:** {len(missing)} tensors have random values (first: {missing[0]}). Train it."
        )
    return {
        "summary": card.summary,
        "paper": card.paper,
        "licence": card.licence,
        "weights_licence": "",
        "trained_on": "",
        "base_model": "",
        "converted_from": f"a checkpoint with the tensor names of {names.repository} ({names.title})",
        "published": card.published if reported else {},
        "notes": notes,
    }


def _digest(path: Path) -> str:
    """SHA-256 of the file; of a TensorFlow checkpoint's index, which names all parts with their checksums."""
    index = path.with_name(path.name + ".index")
    if not path.is_file() and not index.is_file():
        return ""
    with (path if path.is_file() else index).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
