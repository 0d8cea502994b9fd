"""A checkpoint file of anybody -> its tensors by name; never a pickle's objects.

Read are PyTorch files (with `weights_only`, which makes tensors and plain containers and nothing else),
safetensors, NumPy archives, and TensorFlow checkpoints (extra `tensorflow`). What a file is, is judged by its
first bytes. Size, number and claims are checked before memory is asked for.
"""

from __future__ import annotations

import re
import shlex
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError  # what torch raises; nothing is unpickled with it
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from glocal.errors import BackendUnavailable, ConfigError, WeightsError

WRAPPERS = ("model_state", "model_state_dict", "state_dict", "model", "network", "net", "module", "weights")
"""Keys under which training scripts keep the network among other things; the first that is there counts."""
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile
_DEPTH = 4
_READABLE = "PyTorch (.pth .pyth .pt .bin), .safetensors, .npz, or a TensorFlow checkpoint"
_NOT_CHECKPOINTS = (
    (
        rb"\s*<(!doctype|html|\?xml)",
        "is a web page, not a checkpoint → open the link in a browser",
    ),
    (rb"version https://git-lfs", "is a Git LFS pointer, not the file itself → git lfs pull"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|\x28\xb5\x2f\xfd|Rar!", "is compressed → unpack it first"),
)
# What malformed bytes make torch.load raise; a refused object is told apart by its message.
_DAMAGE = (
    UnpicklingError,
    struct.error,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    OverflowError,
    AssertionError,
    MemoryError,
    OSError,
)
_REFUSED = r"unsupported (global|class|operand)|unrecognized function|can only (build|create)"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a checkpoint may claim.

    Attributes:
        max_bytes: of the file, of what it unpacks to, and of all tensors together. ResNet-101 with the
            classifier of 81,313 landmarks and an optimiser's state is about 1.4 GB.
        max_tensors: number of tensors.
        max_index_bytes: of the part of a file that lists the tensors.
    """

    max_bytes: int = 8 << 30
    max_tensors: int = 20_000
    max_index_bytes: int = 64 << 20


LIMITS = Limits()


def read_checkpoint(path: Path, limits: Limits = LIMITS) -> dict[str, Tensor]:
    """Read a checkpoint; no code of it is run.

    Wrappers (`{"model_state": ...}`, `{"state_dict": ...}`) and prefixes of distributed training (`module.`)
    are taken off; numbers and texts beside the tensors are left out.

    Args:
        path: a file, or for TensorFlow the prefix of the checkpoint or its folder.
        limits: what it may claim.

    Returns:
        Official name -> CPU tensor; may be a view of the file.

    Raises:
        ConfigError: there is no such file.
        WeightsError: it is no checkpoint, is damaged, too large, or needs more than tensors.
        BackendUnavailable: it is TensorFlow's, which is not installed.
    """
    prefix = _tensorflow_prefix(path)
    if prefix is not None:
        tensors: Any = _read_tensorflow(prefix, limits)
    elif not path.exists():
        raise ConfigError(f"No such file: {path}")
    elif not path.is_file():
        raise WeightsError(f"{path} is not a file. → give the checkpoint itself: {_READABLE}")
    else:
        try:
            tensors = _read_file(path, limits)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    return _expect_tensors(path, unwrap(tensors), limits)


def unwrap(loaded: Any) -> dict[str, Any]:
    """Take off wrappers and prefixes: what a training script saved -> {name: value}; {} if it is no mapping."""
    for _ in range(_DEPTH):
        if not isinstance(loaded, Mapping):
            return {}
        inner = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = inner
    state = {name: value for name, value in loaded.items() if isinstance(name, str)}
    while state:
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def shape_text(shape: tuple[int, ...]) -> str:
    """(64, 256) -> "64×256"."""
    return "×".join(map(str, shape)) or "a single number"


def _expect_tensors(path: Path, values: dict[str, Any], limits: Limits) -> dict[str, Tensor]:
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path} holds no tensors by name. → give a checkpoint: {_READABLE}")
    if len(tensors) > limits.max_tensors:
        raise WeightsError(f"{path} holds {len(tensors)} tensors; the limit is {limits.max_tensors}")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError(f"{path}: {name[:100]!r} is a sparse, quantised or empty tensor. → save plain numbers")
    # A tensor of stride 0 claims any size without holding it: counted is what a copy would need.
    _expect_size(path, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), limits)
    return tensors


def _expect_size(path: Path, size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        raise WeightsError(
            f"{path} would take {size / 1e9:.1f} GB; the limit is {limits.max_bytes / 1e9:.1f} GB. "
            "→ save the network's tensors alone, without the optimiser"
        )


def _read_file(path: Path, limits: Limits) -> Any:
    size = path.stat().st_size
    if size == 0:
        raise WeightsError(f"{path} is empty (0 bytes). → download it again")
    _expect_size(path, size, limits)
    with path.open("rb") as file:
        head = file.read(512)
    for pattern, what in _NOT_CHECKPOINTS:
        if re.match(pattern, head, re.IGNORECASE):
            raise WeightsError(f"{path} {what}")
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(path, limits)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, limits.max_index_bytes):
        return _read_safetensors(path, limits)
    if head.startswith(b"\x80"):  # the format of PyTorch before 1.6
        return _read_torch(path, mmap=False)
    raise WeightsError(f"{path} is not a checkpoint: it starts with {head[:8]!r}. → I read {_READABLE}")


def _read_zip(path: Path, limits: Limits) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, f"{error}") from error
    if len(entries) > 4 * limits.max_tensors:
        raise WeightsError(f"{path} holds {len(entries)} parts; the limit is {4 * limits.max_tensors}")
    _expect_size(path, sum(entry.file_size for entry in entries), limits)
    names = {entry.filename.rpartition("/")[2]: entry for entry in entries}
    if "constants.pkl" in names:
        raise WeightsError(f"{path} is a TorchScript program, which is code. → {_save_tensors_alone()}")
    if "data.pkl" in names:
        # torch.save never compresses; a compressed part would be mapped as if it were numbers.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise _damaged(path, "its parts are compressed, as PyTorch never does")
        if names["data.pkl"].file_size > limits.max_index_bytes:
            raise WeightsError(f"{path} has a list of contents of {names['data.pkl'].file_size} bytes: too many")
        return _read_torch(path, mmap=True)
    if entries and all(entry.filename.endswith(".npy") for entry in entries):
        return _read_numpy(path)
    raise WeightsError(f"{path} is a zip archive without a checkpoint's parts. → unpack it first")


def _read_torch(path: Path, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files trigger deprecations that a user cannot act upon
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except _DAMAGE as error:
        if isinstance(error, UnpicklingError) and re.search(_REFUSED, str(error), re.IGNORECASE):
            raise _refused(path, error) from error
        raise _damaged(path, "") from error


def _refused(path: Path, error: Exception) -> WeightsError:
    """Row 10 of the messages: name what was refused, and say what to do where the file is trusted."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except _DAMAGE:  # the format before 1.6 cannot be listed
        names = []
    if not names:
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1] or ["of an unknown kind"]
    count = f"{len(names)} object{'s were' if len(names) > 1 else ' was'} refused"
    listed = ", ".join(name[:80] for name in names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return WeightsError(
        f"{path} needs Python pickle, which can run code. I read tensors only (weights_only). "
        f"{count}: {listed}. → {_save_tensors_alone()}"
    )


def _save_tensors_alone() -> str:
    return (
        "if you trust the file, save its tensors alone where it was made, torch.save(model.state_dict(), FILE), "
        "and convert that FILE"
    )


def _read_safetensors(path: Path, limits: Limits) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if len(names) > limits.max_tensors:
                raise WeightsError(f"{path} holds {len(names)} tensors; the limit is {limits.max_tensors}")
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, f"{error}") from error


def _read_numpy(path: Path) -> dict[str, Tensor]:
    """An .npz archive, as numpy.savez writes it."""
    tensors = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as part:
                    tensors[entry.filename.removesuffix(".npy")] = _read_array(path, part, entry)
    except (zipfile.BadZipFile, OSError, ValueError, TypeError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, f"{error}") from error
    return tensors


def _read_array(path: Path, part: Any, entry: zipfile.ZipInfo) -> Tensor:
    version = np.lib.format.read_magic(part)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(part)
    if dtype.hasobject:
        raise WeightsError(
            f"{path}: '{entry.filename}' holds Python objects, which need pickle and can run code. → save numbers alone"
        )
    # The header's claim must be what follows, before memory is asked for.
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else dtype.itemsize
    if size != entry.file_size - part.tell():
        raise _damaged(path, f"'{entry.filename}' claims {size} bytes")
    values = np.frombuffer(bytearray(part.read(size)), dtype)
    values = values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))


def _tensorflow_prefix(path: Path) -> Path | None:
    """`delg-1` for delg-1, delg-1.index, or a folder that holds one; None if this is no TensorFlow checkpoint."""
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    if not path.exists() and path.with_name(path.name + ".index").is_file():
        return path
    if not path.is_dir():
        return None
    found = sorted([*path.glob("*.index"), *path.glob("variables/*.index")])
    if len(found) > 1:
        first, last = (shlex.quote(str(index.with_suffix(""))) for index in (found[0], found[-1]))
        raise WeightsError(f"{path} holds {len(found)} TensorFlow checkpoints. → name one: {first} ... {last}")
    return found[0].with_suffix("") if found else None


def _read_tensorflow(prefix: Path, limits: Limits) -> dict[str, Tensor]:
    """The float variables by their object path; those of the optimiser and of the graph are of other kinds."""
    try:
        import tensorflow  # noqa: PLC0415 - half a gigabyte that only this function needs
    except ImportError as error:
        raise BackendUnavailable(
            f"{prefix} is a TensorFlow checkpoint; reading it needs one extra package. "
            '→ pip install "glocal[tensorflow]"'
        ) from error
    try:
        reader = tensorflow.train.load_checkpoint(str(prefix))
        shapes, kinds = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        names = [name for name in shapes if kinds[name].is_floating]
        size = sum(int(np.prod(shapes[name], dtype=object)) * kinds[name].size for name in names)
        _expect_size(prefix, size, limits)
        if len(names) > limits.max_tensors:
            raise WeightsError(f"{prefix} holds {len(names)} tensors; the limit is {limits.max_tensors}")
        return {name: torch.from_numpy(np.array(reader.get_tensor(name), np.float32)) for name in names}
    except (tensorflow.errors.OpError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(prefix, f"{error}") from error


def _damaged(path: Path, why: str) -> WeightsError:
    try:
        size = f" ({path.stat().st_size / 1e6:.1f} MB)"
    except OSError:
        size = ""
    detail = " ".join(why.split())[:160]
    return WeightsError(
        f"{path}{size} is damaged or ends early{f': {detail}' if detail else ''}. → download or copy it again"
    )
