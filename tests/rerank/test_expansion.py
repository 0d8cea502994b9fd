import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal.errors import ShapeError
from glocal.rerank.expansion import alpha_expansion, augment_database, expand, nearest_others


def unit_rows(seed, count, length=8):
    rows = np.random.default_rng(seed).normal(size=(count, length)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2, 17])
def test_it_is_the_direction_of_the_mean(count):
    rows = unit_rows(0, count + 1)
    mean = rows.mean(axis=0)
    assert np.allclose(expand(rows[0], rows[1:]), mean / np.linalg.norm(mean), atol=1e-6)


def test_without_verified_hits_it_is_the_query():
    (query,) = unit_rows(0, 1)
    assert np.allclose(expand(query, np.empty((0, 8), np.float32)), query)


def test_opposite_descriptors_do_not_become_nan():
    (query,) = unit_rows(0, 1)
    assert np.isfinite(expand(query, -query[None])).all()


def test_descriptors_of_another_length_are_refused():
    with pytest.raises(ShapeError):
        expand(unit_rows(0, 1)[0], unit_rows(0, 2, 9))


def naive_alpha(query, neighbours, similarities, alpha):
    total = query.astype(np.float64).copy()
    for vector, similarity in zip(neighbours, similarities, strict=True):
        if similarity > 0:
            total += similarity**alpha * vector
    return total / np.linalg.norm(total)


def naive_augmentation(gallery, k, alpha, linear):
    rows = gallery.astype(np.float64)
    result = []
    for i, row in enumerate(rows):
        others = sorted((j for j in range(len(rows)) if j != i), key=lambda j: -(rows[j] @ row))[:k]
        total = row.copy()
        for rank, j in enumerate(others, 1):
            total += ((k - rank) / k if linear else max(rows[j] @ row, 0) ** alpha) * rows[j]
        result.append(total / np.linalg.norm(total))
    return np.stack(result)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("k", [1, 2, 17])
def test_alpha_expansion_equals_a_naive_loop(k, alpha):
    queries, gallery = unit_rows(0, 3), unit_rows(1, 3 * k).reshape(3, k, 8)
    similarities = np.einsum("qd,qkd->qk", queries, gallery)
    assert (similarities < 0).any() or k == 1
    expected = [naive_alpha(*row, alpha) for row in zip(queries, gallery, similarities, strict=True)]
    assert np.allclose(alpha_expansion(queries, gallery, similarities, alpha), expected, atol=1e-5)


def test_alpha_expansion_by_hand():
    # 1 * (1, 0) + 0.6^2 * (0.6, 0.8) = (1.216, 0.288); the one that points away counts nothing.
    query = np.array([[1, 0]], np.float32)
    gallery = np.array([[[0.6, 0.8], [-0.6, 0.8]]], np.float32)
    found = alpha_expansion(query, gallery, np.array([[0.6, -0.6]], np.float32), alpha=2)
    assert np.allclose(found, np.array([[1.216, 0.288]]) / np.hypot(1.216, 0.288), atol=1e-6)


def test_with_alpha_0_it_is_average_expansion_of_what_is_similar():
    query, gallery = unit_rows(0, 1), unit_rows(1, 9)
    similarities = gallery @ query[0]
    similar = gallery[similarities > 0]
    assert 0 < len(similar) < 9
    found = alpha_expansion(query, gallery[None], similarities[None], alpha=0)
    assert np.allclose(found[0], expand(query[0], similar), atol=1e-6)


def test_without_neighbours_alpha_expansion_gives_the_query():
    queries = unit_rows(0, 4)
    nothing = np.empty((4, 0, 8), np.float32)
    assert np.allclose(alpha_expansion(queries, nothing, np.empty((4, 0), np.float32)), queries, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(0, 6), alpha=st.floats(0, 6))
def test_expanded_queries_are_unit_and_never_farther_from_themselves_than_half_a_turn(seed, k, alpha):
    queries, gallery = unit_rows(seed, 3), unit_rows(seed + 1, 3 * max(k, 1))[: 3 * k].reshape(3, k, 8)
    similarities = np.einsum("qd,qkd->qk", queries, gallery)
    found = alpha_expansion(queries, gallery, similarities, alpha)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    # Everything that is added has a positive inner product with the query.
    assert (np.einsum("qd,qd->q", found, queries) > 0).all()


@pytest.mark.parametrize("weights", ["similarity", "linear"])
@pytest.mark.parametrize("block", [1, 3, 7, 64])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_augmentation_equals_a_naive_loop_however_the_blocks_are_cut(k, block, weights):
    gallery = unit_rows(k, 20)
    found = augment_database(gallery, k, 2.0, weights=weights, block=block)
    assert found.dtype == np.float32
    assert np.allclose(found, naive_augmentation(gallery, k, 2.0, weights == "linear"), atol=1e-5)


def test_augmentation_reads_a_memory_map_and_writes_into_one(tmp_path):
    gallery = unit_rows(0, 30)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (30, 8))
    assert augment_database(mapped, 5, block=8, out=out) is out
    out.flush()
    assert np.allclose(np.load(tmp_path / "out.npy"), naive_augmentation(gallery, 5, 3.0, False), atol=1e-5)
    with pytest.raises(ShapeError, match="another array"):
        augment_database(gallery, 5, out=gallery)


def test_a_single_descriptor_and_none_are_left_as_they_are():
    (row,) = unit_rows(0, 1)
    assert np.allclose(augment_database(row[None]), row[None], atol=1e-6)
    assert augment_database(np.empty((0, 8), np.float32)).shape == (0, 8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 25), k=st.integers(1, 30), block=st.integers(1, 30))
def test_the_nearest_others_are_those_of_a_full_sort(seed, count, k, block):
    rows = unit_rows(seed, count)
    rows[count // 2 :] = rows[0]  # duplicates: equal similarities
    blocks = list(nearest_others(rows, k, block))
    assert [start for start, _, _ in blocks] == list(range(0, count, block))
    places = np.concatenate([places for _, places, _ in blocks])
    values = np.concatenate([values for _, _, values in blocks])
    full = rows @ rows.T
    np.fill_diagonal(full, -np.inf)
    expected = -np.sort(-full, axis=1)[:, : min(k, count - 1)]
    assert np.allclose(values, expected, atol=1e-5)
    assert np.allclose(np.take_along_axis(full, places, 1), values, atol=1e-5)
    assert all(len(set(row)) == len(row) and i not in row for i, row in enumerate(places.tolist()))


def test_expansion_refuses_what_does_not_fit():
    queries, gallery = unit_rows(0, 2), unit_rows(1, 6).reshape(2, 3, 8)
    similarities = np.ones((2, 3), np.float32)
    with pytest.raises(ShapeError, match="D=8"):
        alpha_expansion(queries, gallery[:, :, :7], similarities)
    with pytest.raises(ShapeError, match="k=3"):
        alpha_expansion(queries, gallery, similarities[:, :2])
    with pytest.raises(ShapeError, match="alpha"):
        alpha_expansion(queries, gallery, similarities, alpha=-1)
    with pytest.raises(ShapeError, match="weights"):
        augment_database(queries, weights="square")
    with pytest.raises(ShapeError, match="at least 1"):
        augment_database(queries, k=0)
