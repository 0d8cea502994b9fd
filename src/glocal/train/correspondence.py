"""What geometry knows, as a loss: cells of two views that show the same place describe it alike.

The views are rendered (`glocal.data.staging`), so that every cell's place in the photo is known, as if both views had
been verified against each other without an error.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_NEAR = 0.6  # of the spacing of cells: what counts as the same place
_AROUND = 1.2  # of the spacing: nearer cells of the same picture are neither right nor wrong
_ZOOM = 2.0  # largest ratio of the two spacings: one cell describes one size


def corresponding_cells(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Mutually nearest cells of two views of one photo that show the same place at about the same size.

    Args:
        first: (n, n, 2) float, places in the photo; NaN where none is known.
        second: (n, n, 2) float, the same of the other view.

    Returns:
        (M,) int64 and (M,) int64: row-major numbers of the cells.
    """
    sizes = [_spacing(places).flatten() for places in (first, second)]
    distances = torch.cdist(first.flatten(0, 1), second.flatten(0, 1)).nan_to_num(torch.inf)
    nearest, there = distances.min(dim=1)
    mutual = distances.argmin(dim=0)[there] == torch.arange(len(there), device=there.device)
    mine, theirs = sizes[0], sizes[1][there]
    alike = (mine / theirs).log().abs() < torch.tensor(_ZOOM).log()  # false for NaN
    (here,) = torch.nonzero(mutual & alike & (nearest < _NEAR * torch.minimum(mine, theirs)), as_tuple=True)
    return here, there[here]


class CellLosses(NamedTuple):
    """What geometry says of a batch of local maps.

    Attributes:
        correspondence: () soft-max cross-entropy of a cell's counterpart among the cells of all second views, and the
            other way round.
        reliability: () cross-entropy of the attention as a forecast of which cells find their counterpart first: the
            probability is 1 - exp(-attention), the logistic function of what its softplus reads.
    """

    correspondence: Tensor
    reliability: Tensor


def cell_losses(
    local: Tensor, attention: Tensor, places: Tensor, temperature: float = 0.07, most: int = 512
) -> CellLosses:
    """Both losses, means over pairs of corresponding cells; 0 where there are none.

    Args:
        local: (2 B, d, n, n), local descriptors of any norm; views 2 i and 2 i + 1 are of one photo.
        attention: (2 B, 1, n, n), positive.
        places: (2 B, n, n, 2), see `corresponding_cells`.
        temperature: what cosines are divided by.
        most: pairs that are compared, drawn by torch's generator; every one is compared with all cells.
    """
    cells = F.normalize(local.float().flatten(2), dim=1).mT  # (2 B, n n, d)
    firsts, seconds = cells[0::2], cells[1::2]
    looks = attention.float().flatten(1)  # (2 B, n n)
    per_view = cells.shape[1]
    mine, theirs = [], []
    for i, (first, second) in enumerate(zip(places[0::2], places[1::2], strict=True)):
        here, there = corresponding_cells(first, second)
        mine.append(here + i * per_view)
        theirs.append(there + i * per_view)
    a, b = torch.cat(mine), torch.cat(theirs)
    if not len(a):
        return CellLosses(local.sum() * 0, attention.sum() * 0)
    some = torch.randperm(len(a), device="cpu")[:most].to(a.device)
    a, b = a[some], b[some]
    onward = _compare(firsts.flatten(0, 1)[a], seconds.flatten(0, 1), b, places[1::2], temperature)
    back = _compare(seconds.flatten(0, 1)[b], firsts.flatten(0, 1), a, places[0::2], temperature)
    forecasts = _forecast(looks[0::2].flatten()[a], onward, b) + _forecast(looks[1::2].flatten()[b], back, a)
    return CellLosses((F.cross_entropy(onward, b) + F.cross_entropy(back, a)) / 2, forecasts / 2)


def _forecast(attention: Tensor, logits: Tensor, right: Tensor) -> Tensor:
    """(M,) attention of cells, (M, N) their likeness to others, (M,) the right ones -> () binary cross-entropy."""
    found = logits.argmax(dim=1) == right
    attention = attention.clamp(min=1e-6)
    return torch.where(found, -torch.log(-torch.expm1(-attention)), attention).mean()


def _compare(queries: Tensor, cells: Tensor, right: Tensor, places: Tensor, temperature: float) -> Tensor:
    """(M, d) against (B n n, d), of which `right` (M,) are the counterparts: logits (M, B n n), neighbours left out."""
    logits = queries @ cells.T / temperature
    per_view = places.shape[1] * places.shape[2]
    flat, sizes = places.flatten(0, 2), _spacing(places).flatten()
    view = right // per_view
    offsets = torch.arange(per_view, device=right.device)
    columns = view[:, None] * per_view + offsets  # (M, n n): the cells of the right view
    distance = (flat[columns] - flat[right][:, None]).norm(dim=2)
    around = (distance < _AROUND * sizes[right][:, None]) & (columns != right[:, None])
    return logits.scatter(1, columns, logits.gather(1, columns).masked_fill(around, -torch.inf))


def _spacing(places: Tensor) -> Tensor:
    """(..., n, n, 2) places -> (..., n, n) distance to the next cell of the row, or to the one before."""
    steps = (places[..., 1:, :] - places[..., :-1, :]).norm(dim=-1)
    after = torch.cat([steps, steps[..., -1:]], dim=-1)
    before = torch.cat([steps[..., :1], steps], dim=-1)
    return torch.where(after.isnan(), before, after)
