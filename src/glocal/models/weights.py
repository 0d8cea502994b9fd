"""A model on disk: a folder that holds all that is needed to run it, and proves that it is whole.

    model.safetensors   the tensors, under our names
    config.json         name, options, preprocessing, card
    fingerprint.json    SHA-256 of the tensors, and what the network answered to the probe pictures
    README.md           the model card

Loading is strict: every tensor is there with its shape and type, and nothing else, or nothing is loaded.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from glocal.errors import ConfigError, DiskFull, WeightsError
from glocal.models.catalogue import canonical_name, create_model
from glocal.models.checkpoint import shape_text
from glocal.models.model_card import render_card
from glocal.models.preprocessing import Preprocessing

FORMAT = 1
TENSORS, CONFIG, FINGERPRINT, CARD = "model.safetensors", "config.json", "fingerprint.json", "README.md"
FILES = (CARD, TENSORS, CONFIG, FINGERPRINT)
"""In the order of writing: whoever reads in between finds tensors and a fingerprint that disagree, and says so."""
MAX_BYTES = 8 << 30
_MAX_HEADER = 100 << 20
_MAX_JSON = 64 << 20
_HALF = {torch.float32: torch.float16}  # what may stand in a file for what a network computes with
_FIELDS = ("format", "name", "options", "preprocessing", "card")


@dataclass
class ModelConfig:
    """What turns tensors into a model.

    Attributes:
        name: catalogue name.
        options: those of `create_model`.
        preprocessing: how the model is fed.
        card: for people; see `glocal.models.model_card`. Plain values.
    """

    name: str
    options: dict[str, Any]
    preprocessing: Preprocessing
    card: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The text of config.json."""
        fields = {
            "format": FORMAT,
            "name": self.name,
            "options": self.options,
            "preprocessing": self.preprocessing.to_dict(),
            "card": self.card,
        }
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: it is no such text, of another format, or names a model or field that is unknown.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"not JSON ({error})") from error
        if not isinstance(fields, dict) or set(fields) != set(_FIELDS):
            odd = sorted(map(str, set(fields) ^ set(_FIELDS))) if isinstance(fields, dict) else ["all of it"]
            raise ConfigError(f"not the configuration of a model (missing or unknown: {', '.join(odd)[:200]})")
        if fields["format"] != FORMAT:
            raise ConfigError(f"of format {fields['format']!r}; this glocal reads {FORMAT} → update glocal")
        if not isinstance(fields["name"], str) or not all(isinstance(fields[name], dict) for name in _FIELDS[2:]):
            raise ConfigError("name must be a text, options, preprocessing and card must be objects")
        try:
            preprocessing = Preprocessing.from_dict(fields["preprocessing"])
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"preprocessing makes no sense ({error})") from error
        return cls(canonical_name(fields["name"]), fields["options"], preprocessing, fields["card"])


def save_model(
    directory: Path,
    network: nn.Module,
    config: ModelConfig,
    source: Mapping[str, Any] | None = None,
    half: bool = False,
) -> str:
    """Write a model's folder; another model in it is replaced.

    Every file appears whole or not at all.

    Args:
        directory: made if it is not there.
        network: its parameters and buffers, of any device.
        config: the rest.
        source: where the tensors come from, for the card and the fingerprint; plain values.
        half: keep the floating-point tensors as float16, half as large; they are read back as float32.

    Returns:
        The fingerprint: SHA-256 over the bytes of the tensors and of the configuration, hexadecimal.

    Raises:
        WeightsError: a tensor holds NaN or infinity.
        ConfigError: the folder holds other things, or cannot be written.
        DiskFull: no space is left.
    """
    expect_place(directory)
    # Copies: the format has no strides, and no tensors that share their memory.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{name} holds NaN or infinity: this network describes nothing. Not saved.")
        if half and tensor.is_floating_point():
            tensors[name] = tensor.half()
            if not bool(torch.isfinite(tensors[name]).all()):
                raise WeightsError(f"{name} is beyond the range of float16. Not saved.")
    data = safetensors.torch.save(tensors, {"format": "pt"})
    text = config.to_json().encode()
    digest = hashlib.sha256(data)
    about = {"format": FORMAT, "sha256": {TENSORS: digest.hexdigest()}, "bytes": {TENSORS: len(data)}}
    digest.update(text)
    about |= {"fingerprint": digest.hexdigest(), "source": dict(source or {})}
    parts = {
        CARD: render_card(config.name, config.options, config.card, source or {}).encode(),
        TENSORS: data,
        CONFIG: text,
        FINGERPRINT: (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            _write(directory / name, parts[name])
    except OSError as error:
        raise _unwritable(directory, error) from error
    return digest.hexdigest()


def expect_place(directory: Path) -> None:
    """Refuse a folder that holds other things than a model.

    Raises:
        ConfigError: it does.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file. → give another --out")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / CONFIG).is_file():
        raise ConfigError(f"{directory} holds other things than a model. → give another --out")


def staging(directory: Path) -> Path:
    """A new empty folder beside a model's folder, for `publish`.

    Raises:
        ConfigError: nothing can be written there.
        DiskFull: no space is left.
    """
    expect_place(directory)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise _unwritable(directory, error) from error


def publish(stage: Path, directory: Path) -> None:
    """Move a model's files from a staging folder to their place, replacing those of another model.

    Raises:
        ConfigError: they cannot be moved.
    """
    try:
        directory.mkdir(exist_ok=True)
        for name in FILES:
            os.replace(stage / name, directory / name)
    except OSError as error:
        raise _unwritable(directory, error) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def add_to_fingerprint(directory: Path, **fields: Any) -> None:
    """Write more fields into fingerprint.json: plain values."""
    about = read_fingerprint(directory) | fields
    try:
        _write(directory / FINGERPRINT, (json.dumps(about, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise _unwritable(directory, error) from error


def read_fingerprint(directory: Path) -> dict[str, Any]:
    """The content of fingerprint.json; {} if there is none.

    Raises:
        WeightsError: it is damaged.
    """
    path = directory / FINGERPRINT
    if not path.is_file():
        return {}
    try:
        about = json.loads(_read(path, _MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged ({error}). → {_convert_again(directory)}") from error
    if not isinstance(about, dict):
        raise WeightsError(f"{path} is damaged. → {_convert_again(directory)}")
    return about


def read_config(directory: Path) -> ModelConfig:
    """The configuration of a model's folder, without its tensors.

    Raises:
        WeightsError: there is none, or it makes no sense.
    """
    return _parse_config(directory / CONFIG, _read_config_bytes(directory))


def load_model(source: Path) -> tuple[nn.Module, ModelConfig, str]:
    """Load a model, entirely or not at all.

    A config.json that was edited by hand is taken as it is (and gives another fingerprint, so that its
    descriptors do not mix with the earlier ones); tensors that were changed are refused.

    Args:
        source: a model's folder, or the .safetensors file in it.

    Returns:
        The network in evaluation mode, float32, on the CPU; its configuration; its fingerprint: SHA-256 over
        the bytes of both files, hexadecimal.

    Raises:
        WeightsError: something is missing, damaged, or does not fit together.
        BackendUnavailable: the network needs a package that is not installed.
    """
    directory, path = (source, source / TENSORS) if source.is_dir() else (source.parent, source)
    text = _read_config_bytes(directory)
    config = _parse_config(directory / CONFIG, text)
    if not path.is_file():
        raise WeightsError(f"{directory} has no {path.name}. → {_convert_again(directory, config)}")
    data = _read(path, MAX_BYTES)
    _expect_whole(path, data, config)
    digest = hashlib.sha256(data)
    # Written by save_model; a folder of somebody else may come without it.
    expected = read_fingerprint(directory).get("sha256", {}) if path.name == TENSORS else {}
    if isinstance(expected, dict) and expected.get(TENSORS, digest.hexdigest()) != digest.hexdigest():
        raise WeightsError(
            f"{path}: its content is not what was written (sha256 differs): refusing to load. "
            f"→ copy the folder again, or {_convert_again(directory, config)}"
        )
    digest.update(text)
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, RuntimeError, LookupError, TypeError) as error:
        raise WeightsError(f"{path} is damaged ({error}). → {_convert_again(directory, config)}") from error
    try:
        network = _fill(config, tensors, path)
    except ConfigError as error:
        raise WeightsError(f"{directory / CONFIG}: {error}") from error
    return network, config, digest.hexdigest()


def unfit(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Which of the expected tensors have no counterpart of their shape: name -> what is wrong, misfits first."""
    wrong, missing = {}, {}
    for name, want in expected.items():
        found = tensors.get(name)
        if found is None:
            missing[name] = f"{name} is missing"
        elif found.shape != want.shape:
            wrong[name] = f"{name} is {shape_text(tuple(found.shape))}, expected {shape_text(tuple(want.shape))}"
        elif found.is_floating_point() != want.is_floating_point():
            wrong[name] = f"{name} is {_kind(found)}, expected {_kind(want)}"
    return wrong | missing


def _fill(config: ModelConfig, tensors: dict[str, Tensor], path: Path) -> nn.Module:
    """Build the network around the tensors; on the meta device nothing is drawn that is thrown away at once."""
    with torch.device("meta"):
        network = create_model(config.name, **config.options)
    expected = network.state_dict()
    types = {
        name: f"{name} is {_kind(tensors[name])}, expected {_kind(want)}"
        for name, want in expected.items()
        if name in tensors and tensors[name].dtype not in (want.dtype, _HALF.get(want.dtype))
    }
    unknown = {name: f"{name[:100]!r} is not known" for name in tensors if name not in expected}
    problems = list((unfit(expected, tensors) | types | unknown).values())
    shown = config.name.replace("_", "-")
    if problems:
        raise WeightsError(
            f"{path} is not a {shown}: {len(problems)} of {len(expected)} tensors do not fit (first: {problems[0]}). "
            f"→ {_convert_again(path.parent, config)}"
        )
    tensors = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    network.load_state_dict(tensors, strict=True, assign=True)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        network = create_model(config.name, **config.options)  # it keeps buffers that are not in its state
        network.load_state_dict(tensors, strict=True)
    return network.eval()


def _expect_whole(path: Path, data: bytes, config: ModelConfig) -> None:
    """Compare the size with what the header promises, and say both."""
    length = int.from_bytes(data[:8], "little")
    header: Any = None
    if 0 < length <= min(len(data), _MAX_HEADER):
        try:
            header = json.loads(data[8 : 8 + length])
        except (ValueError, RecursionError):
            header = None
    again = f"→ copy it again, or {_convert_again(path.parent, config)}"
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        promised = 8 + length + max(ends, default=0)
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{path} ({_megabytes(len(data))}) does not begin as safetensors do: refusing to load. {again}"
        ) from error
    if promised != len(data):
        raise WeightsError(
            f"{path.name}: got {_megabytes(len(data))} of {_megabytes(promised)} in {path.parent}: refusing to load. "
            f"{again}"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10_000_000 else f"{size} bytes"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _convert_again(directory: Path, config: ModelConfig | None = None) -> str:
    name = config.name.replace("_", "-") if config else "NAME"
    return f"glocal convert CHECKPOINT --as {name} --out {directory} again"


def _read_config_bytes(directory: Path) -> bytes:
    path = directory / CONFIG
    if not directory.exists():
        raise WeightsError(f"No such folder of weights: {directory}. → glocal models lists what is there by name")
    if not path.is_file():
        raise WeightsError(
            f"{directory} holds no model: there is no {CONFIG}. → glocal convert CHECKPOINT --as NAME --out {directory}"
        )
    return _read(path, _MAX_JSON)


def _parse_config(path: Path, text: bytes) -> ModelConfig:
    try:
        return ModelConfig.from_json(text.decode())
    except (ConfigError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: {error}") from error


def _read(path: Path, limit: int) -> bytes:
    try:
        if path.stat().st_size > limit:
            raise WeightsError(f"{path} has {path.stat().st_size} bytes; the limit is {limit}")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """Put a file in place at once: no reader sees half of it, and no power cut leaves half of it."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unwritable(directory: Path, error: OSError) -> ConfigError | DiskFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"No space left for {directory}. → free some, or give another --out")
    return ConfigError(f"{directory} cannot be written: {error.strerror}. → give another --out")
