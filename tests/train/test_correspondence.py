"""Cells that show the same place, and the loss that makes their descriptors alike."""

import numpy as np
import pytest
import torch

from glocal.data.augment import staged_view
from glocal.train.correspondence import cell_losses, corresponding_cells
from tests.conftest import texture


def grid(n, step=10.0, shift=(0.0, 0.0)):
    """(n, n, 2) places of an upright view."""
    x, y = torch.meshgrid(torch.arange(n) * step + shift[0], torch.arange(n) * step + shift[1], indexing="xy")
    return torch.stack([x, y], dim=-1)


def correspondence_loss(local, places, **options):
    return cell_losses(local, torch.ones_like(local[:, :1]), places, **options).correspondence


def test_a_shifted_view_corresponds_cell_by_cell():
    here, there = corresponding_cells(grid(6), grid(6, shift=(20.0, 10.0)))
    # Cell (column c, row r) of the second view is cell (c + 2, r + 1) of the first.
    rows, columns = np.divmod(there.numpy(), 6)
    assert np.array_equal(here.numpy(), (rows + 1) * 6 + columns + 2)
    assert len(here) == 5 * 4


def test_unknown_places_and_other_sizes_do_not_correspond():
    first = grid(6)
    first[:3] = torch.nan
    here, _ = corresponding_cells(first, grid(6))
    assert (here >= 18).all()
    assert len(here) == 18
    assert len(corresponding_cells(grid(6), grid(6, step=25.0))[0]) == 0
    assert len(corresponding_cells(torch.full((4, 4, 2), torch.nan), grid(4))[0]) == 0


def test_the_loss_is_small_for_equal_places_and_large_for_wrong_ones():
    torch.manual_seed(0)
    local = torch.randn(1, 16, 6, 6)
    places = torch.stack([grid(6), grid(6)])
    right = correspondence_loss(torch.cat([local, local]), places)
    wrong = correspondence_loss(torch.cat([local, local.flip(3)]), places)
    assert right < 0.1 < 3 < wrong


def test_neighbours_of_the_right_cell_are_no_mistake():
    """A map that hardly changes from cell to cell is punished for far cells alone."""
    ramp = torch.stack([torch.cos(grid(8)[..., 0] / 20), torch.sin(grid(8)[..., 0] / 20)])[None]
    places = torch.stack([grid(8), grid(8)])
    mild = correspondence_loss(torch.cat([ramp, ramp]), places, temperature=0.01)
    assert mild < np.log(8) + 0.3  # the seven other cells of the column look the same; they are not far in x


def test_no_pairs_give_no_loss_and_no_gradient():
    local = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = correspondence_loss(local, torch.full((2, 3, 3, 2), torch.nan))
    loss.backward()
    assert loss == 0
    assert (local.grad == 0).all()


def test_attention_is_judged_by_which_cells_find_each_other():
    """Left half equal in both views, right half noise: attention on the left is right, on the right wrong."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 1, 16, 6, 6)
    second[..., :3] = first[..., :3]
    local, places = torch.cat([first, second]), torch.stack([grid(6), grid(6)])
    left = torch.full((2, 1, 6, 6), 0.05)
    left[..., :3] = 3.0
    right = left.flip(3)
    assert cell_losses(local, left, places).reliability < 0.5 < 2 < cell_losses(local, right, places).reliability
    # The forecast is the logistic function of what the softplus reads: 0 means even odds.
    even = torch.nn.functional.softplus(torch.zeros(2, 1, 6, 6))
    assert cell_losses(local, even, places).reliability == pytest.approx(np.log(2), rel=1e-5)


def test_a_sample_of_the_pairs_is_compared():
    torch.manual_seed(0)
    local, places = torch.randn(2, 8, 6, 6), torch.stack([grid(6), grid(6)])
    attention = torch.ones(2, 1, 6, 6)
    whole = cell_losses(local, attention, places).correspondence
    assert cell_losses(local, attention, places, most=36).correspondence == pytest.approx(float(whole), rel=1e-5)
    assert cell_losses(local, attention, places, most=5).correspondence != pytest.approx(float(whole), rel=1e-3)


def test_gradient_descent_on_rendered_views_finds_the_counterparts():
    """Free descriptors of two views of a photo: trained, most cells find their counterpart first."""
    views = [staged_view(texture(1), 96, np.random.default_rng(seed), area=(0.8, 1.0)) for seed in (0, 1)]
    places = torch.stack(
        [torch.from_numpy(np.where(v.visible[::8, ::8, None], v.where[::8, ::8], np.nan)) for v in views]
    ).float()
    torch.manual_seed(0)
    local = torch.randn(2, 32, 12, 12, requires_grad=True)
    optimiser = torch.optim.Adam([local], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        loss = correspondence_loss(local, places)
        loss.backward()
        optimiser.step()
    here, there = corresponding_cells(*places)
    assert len(here) > 10
    cells = torch.nn.functional.normalize(local.detach().flatten(2), dim=1)
    assert (cells[0].T[here] @ cells[1]).argmax(dim=1) == pytest.approx(there.numpy())
