"""Deterministic weights and images for the golden references.

Everything here is a pure function of a *name* and a *shape*: no state, no
order dependence, no framework.  The golden ``<model>.json`` files list every
tensor of a model as ``{"name", "shape", "dtype", "lo", "hi"}``; ``tensor()``
turns one such entry into the exact array that produced the golden outputs.

The recipe, in words (so that it can be repeated in any language)
-----------------------------------------------------------------
1.  text   = name + "|" + ",".join(decimal dimensions); a scalar gives "name|".
2.  digest = SHA-256(text as UTF-8); key = its first 16 bytes read as a
    little-endian 128-bit integer.
3.  Philox4x64-10 with that key and counter 0 (NumPy's ``Philox(key=key)``,
    whose first block is produced with the counter already advanced to 1) gives
    a stream of 64-bit words w0, w1, ...
4.  u_i = (w_i >> 11) * 2**-53, in [0, 1).
5.  value_i = float32(lo + (hi - lo) * u_i), computed in IEEE double, filled in
    C (row-major) order.
6.  Integer entries (BatchNorm's ``num_batches_tracked``) are the constant lo.

``bounds()`` says which [lo, hi] a key gets; the JSON files store its result,
so a reader never needs to repeat those rules.  They keep every activation of
order one through 101 layers:

* running variance, and every one-dimensional scale: [0.5, 1.5]; the scale of
  the last normalisation of a residual branch: [0.1, 0.3];
* running mean and every bias: [-0.1, 0.1];
* matrices and kernels: uniform with standard deviation gain / sqrt(fan_in),
  gain sqrt(2) for four dimensions and 1 otherwise, but 1 for the kernel of a
  projection shortcut, 0.5 for attention queries and keys (1.2 inside a
  "self_attn") and 0.25 for learned query tokens, so that no soft-max is
  saturated and none is flat;
* a GeM exponent: [2.5, 3.5];  a curriculum state ``t``: [0.05, 0.15].

Run ``python recipe.py`` for a self check against hashes written below; its exit code counts what differs.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys

import numpy as np

__all__ = ["bounds", "entry", "image", "state", "tensor", "uniform"]

#: last path component(s) that mark the closing normalisation of a residual
#: branch, in the naming schemes of the models covered here
_RESIDUAL_END = ("bn3.weight", "c_bn.weight", "2c/gamma")
#: the kernel of a projection shortcut, likewise
_SHORTCUT = (".proj.weight", "downsample.0.weight", "conv_shortcut/kernel")
#: the query and key matrices of an attention layer
_QUERY_KEY = (".q.weight", ".k.weight")


def _philox(name: str, shape: tuple[int, ...]) -> np.random.Philox:
    text = name + "|" + ",".join(str(int(d)) for d in shape)
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return np.random.Philox(key=int.from_bytes(digest[:16], "little"))


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64 values in [0, 1) that depend on nothing but name and shape."""
    count = int(np.prod(shape, dtype=np.int64))
    words = _philox(name, shape).random_raw(count)
    words = np.asarray(words, dtype=np.uint64).reshape(shape)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bounds(name: str, shape: tuple[int, ...], layout: str = "torch") -> tuple[float, float]:
    """The [lo, hi] of one parameter.

    ``layout`` is "torch" (output channels first) or "tf" (output channels
    last); it only matters for the fan-in of matrices and kernels.
    """
    last = name.replace(":0", "").split("/")[-1].split(".")[-1]
    if last == "num_batches_tracked":
        return 0.0, 0.0
    if last in ("running_var", "moving_variance"):
        return 0.5, 1.5
    if last in ("running_mean", "moving_mean"):
        return -0.1, 0.1
    if tuple(shape) == (1,) and last == "p":
        return 2.5, 3.5
    if tuple(shape) == (1,) and last == "t":
        return 0.05, 0.15
    if len(shape) <= 1:
        if last in ("bias", "beta"):
            return -0.1, 0.1
        if name.replace(":0", "").endswith(_RESIDUAL_END):
            return 0.1, 0.3
        return 0.5, 1.5
    if len(shape) == 3:  # learned queries: the depth is what gets summed over
        fan_in = shape[-1]
    elif layout == "tf":
        fan_in = int(np.prod(shape[:-1]))
    else:
        fan_in = int(np.prod(shape[1:]))
    plain = name.replace(":0", "")
    if len(shape) == 4:
        gain = 1.0 if plain.endswith(_SHORTCUT) else math.sqrt(2.0)
    elif len(shape) == 3:
        gain = 0.25
    else:
        gain = 1.0
        if plain.endswith(_QUERY_KEY):
            gain = 1.2 if ".self_attn." in plain else 0.5
    half = gain * math.sqrt(3.0 / fan_in)
    return -half, half


def entry(name: str, shape: tuple[int, ...], dtype: str = "float32", layout: str = "torch") -> dict:
    """The JSON description of one tensor."""
    lo, hi = bounds(name, tuple(shape), layout)
    return {"name": name, "shape": [int(d) for d in shape], "dtype": dtype, "lo": lo, "hi": hi}


def tensor(item: dict) -> np.ndarray:
    """The array that one JSON entry describes."""
    shape = tuple(item["shape"])
    if not item["dtype"].startswith("float"):
        return np.full(shape, int(item["lo"]), dtype=item["dtype"])
    unit = uniform(item["name"], shape)
    return np.asarray(item["lo"] + (item["hi"] - item["lo"]) * unit, dtype=item["dtype"])


def state(description: dict | str, prefix: str = "") -> dict[str, np.ndarray]:
    """All tensors of a golden description (a dict, or a path to its JSON)."""
    if isinstance(description, str):
        with open(description, encoding="utf-8") as handle:
            description = json.load(handle)
    return {item["name"]: tensor(item) for item in description["state"] if item["name"].startswith(prefix)}


def image(name: str, height: int, width: int) -> np.ndarray:
    """A deterministic textured RGB picture, uint8 [height, width, 3].

    Sum of bilinearly enlarged random grids (cells of 64 to 2 pixels) plus
    per-pixel noise.  The golden archives store the resulting bytes, so nothing
    depends on the last bit of this arithmetic.
    """
    total = np.zeros((height, width, 3))
    for cell, weight in ((64, 1.0), (32, 0.8), (16, 0.6), (8, 0.5), (4, 0.4), (2, 0.3)):
        rows, cols = height // cell + 2, width // cell + 2
        grid = uniform(f"image/{name}/{cell}", (rows, cols, 3)) - 0.5
        y, x = np.arange(height) / cell, np.arange(width) / cell
        yi, xi = y.astype(int), x.astype(int)
        fy, fx = (y - yi)[:, None, None], (x - xi)[None, :, None]
        top = grid[yi][:, xi] * (1 - fx) + grid[yi][:, xi + 1] * fx
        low = grid[yi + 1][:, xi] * (1 - fx) + grid[yi + 1][:, xi + 1] * fx
        total += weight * (top * (1 - fy) + low * fy)
    total += 0.2 * (uniform(f"image/{name}/1", (height, width, 3)) - 0.5)
    spread = total.std(axis=(0, 1))
    return np.clip(128 + 55 * (total - total.mean(axis=(0, 1))) / spread, 0, 255).astype(np.uint8)


_CHECKS = {
    ("a.weight", (4, 3, 3, 3)): "a3496e474532f706",
    ("bn.running_var", (7,)): "55decaae5c946d52",
    ("query", (1, 2, 5)): "77c0ebbfcd2a53d7",
}


def _selfcheck() -> int:
    bad = 0
    for (name, shape), expected in _CHECKS.items():
        digest = hashlib.sha256(tensor(entry(name, shape)).tobytes()).hexdigest()[:16]
        bad += digest != expected
    return bad


if __name__ == "__main__":
    sys.exit(_selfcheck())
