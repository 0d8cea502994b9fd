"""Lists and codes of the principal part of descriptors."""

import numpy as np
import pytest

from glocal.index.choice import Layout, Setting
from tests.index.made_up import unit

pytest.importorskip("faiss", reason="needs faiss: pip install 'glocal[faiss]'")

from glocal.index.faiss_lists import ENERGY, InvertedLists, principal_rotation


def falling(seed, count, dim):
    """Descriptors whose numbers, after a turn, are of falling variance, about a mean that is not zero."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).standard_normal((dim, dim)))[0]
    rows = rng.standard_normal((count, dim)) * (np.arange(dim) + 4.0) ** -0.8
    rows[:, 0] += 1.0
    return unit(rows @ turn)


def test_the_principal_part_holds_its_share_of_the_squared_length_and_a_shorter_one_does_not():
    rows = falling(0, 2000, 256)
    rotation = principal_rotation(rows, 0)
    length = len(rotation)
    assert length % 16 == 0
    assert 16 < length < 256
    assert np.allclose(rotation @ rotation.T, np.eye(length), atol=1e-5)
    assert np.sum((rows @ rotation.T) ** 2) / len(rows) >= ENERGY
    values = np.linalg.eigvalsh(rows.T.astype(float) @ rows)[::-1]  # no directions of that number hold more
    assert np.sum((rows @ rotation.T) ** 2) == pytest.approx(values[:length].sum(), rel=1e-4)
    assert values[: length - 16].sum() / values.sum() < ENERGY


def test_the_rotation_keeps_products_of_what_it_holds():
    rows = falling(1, 500, 48)
    basis = principal_rotation(rows, 3)
    inside = rows @ basis.T @ basis  # descriptors of which nothing is lost
    assert np.allclose((inside @ basis.T) @ (inside @ basis.T).T, inside @ inside.T, atol=1e-4)


def test_each_number_of_the_principal_part_tells_about_as_much_as_the_next():
    rows = falling(2, 4000, 256)
    spread = (rows @ principal_rotation(rows, 0).T).std(axis=0)
    assert spread.max() / spread.min() < 4
    assert rows.std(axis=0).max() / rows.std(axis=0).min() < 4  # as of the made-up ones, turned at random too
    values = np.linalg.eigvalsh(np.cov(rows.T))
    assert np.sqrt(values.max() / values.min()) > 10  # though their principal directions differ by much more


@pytest.mark.parametrize("dim", [5, 16, 33])
def test_descriptors_of_any_length_have_a_rotation_of_whole_steps(dim):
    rows = unit(np.random.default_rng(0).standard_normal((300, dim)))  # the same in all directions
    rotation = principal_rotation(rows, 0)
    assert rotation.shape == (16 * -(-int(np.ceil(ENERGY * dim)) // 16), dim) or rotation.shape[0] == 16 * -(-dim // 16)
    if len(rotation) >= dim:
        assert np.allclose((rows @ rotation.T) @ (rows @ rotation.T).T, rows @ rows.T, atol=1e-5)


def test_rotated_lists_find_what_is_most_similar():
    rows, asked = falling(3, 5000, 128), falling(4, 50, 128)
    layout = Layout("IDMap,RR,IVF64,PQ4fs,Refine(SQ8)", 64, 1, (Setting(1.0, 16),), rotated=True)
    lists = InvertedLists.train(layout, rows[:3000], 0, lambda done: None)
    lists.add(np.arange(1, 5001), rows)
    found = lists.candidates(asked, 20, 64, 32) - 1  # codes of a byte mix up the last ones
    expected = np.argsort(-(asked @ rows.T), axis=1)[:, :10]
    share = np.mean([np.isin(b, a).mean() for a, b in zip(found, expected, strict=True)])
    assert share >= 0.97
