"""Inverted lists of compressed descriptors (FAISS, extra `faiss`): the only file of this layer that imports it.

FAISS trusts what it reads, so `read` is for files whose checksum the collection vouches for.
"""

from __future__ import annotations

import importlib.util
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glocal.errors import BackendUnavailable, StoreError
from glocal.index.choice import Layout, Setting

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

NUM_ROUNDS = 8
"""Of k-means over the centroids of the lists; spherical, as similarities are inner products."""
ENERGY = 0.88
"""Share of the squared length that the principal part of descriptors holds; candidates make up for the rest."""
_STEP = 16
_BUFFER = 1 << 20


def is_installed() -> bool:
    """Whether FAISS can be asked for; it is not loaded."""
    return importlib.util.find_spec("faiss") is not None


def installed_version() -> str:
    """The version of FAISS.

    Raises:
        BackendUnavailable: it is not installed.
    """
    return str(_load().__version__)


def _load() -> Any:
    try:
        import faiss  # noqa: PLC0415 - optional, takes a moment, and brings its own OpenMP
    except ImportError as error:
        raise BackendUnavailable(
            f"searching a large index by inverted lists needs faiss ({error}) → pip install 'glocal[faiss]'"
        ) from error
    return faiss


class InvertedLists:
    """Descriptors by number. Use `train` or `read`."""

    def __init__(self, index: Any) -> None:
        self._faiss = _load()
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def num_lists(self) -> int:
        """Inverted lists."""
        return int(self._faiss.extract_index_ivf(self._index).nlist)

    @classmethod
    def train(cls, layout: Layout, sample: Vectors, seed: int, tick: Callable[[int], None]) -> InvertedLists:
        """Empty lists with their centroids and codes fitted to a sample.

        Of a rotated layout they are those of R x, where R (D', D) takes the D' directions that hold `ENERGY` of the
        sample's squared length and turns them at random. Most descriptors put little into the others, so that codes of
        D' numbers tell more per bit; turned at random, each number tells as much as the next.

        Args:
            layout: the index type.
            sample: (N, D) of unit norm, N at least the number of lists.
            seed: of the first centroids.
            tick: is told how many rounds of k-means are done; what it raises ends the training.

        Raises:
            BackendUnavailable: FAISS is not installed.
        """
        faiss = _load()
        dim = sample.shape[1]
        if layout.rotated:
            rotation = principal_rotation(sample, seed)
            index = _rotated_index(faiss, rotation, layout.num_lists)
            reduced = sample @ rotation.T
        else:
            index = faiss.index_factory(dim, layout.factory, faiss.METRIC_INNER_PRODUCT)
            reduced = sample
        parameters = faiss.ClusteringParameters()
        parameters.niter, parameters.spherical, parameters.seed = 1, True, seed
        parameters.min_points_per_centroid, parameters.max_points_per_centroid = 1, len(sample)
        clustering = faiss.Clustering(reduced.shape[1], layout.num_lists, parameters)
        for done in range(NUM_ROUNDS):
            clustering.train(reduced, faiss.IndexFlatIP(reduced.shape[1]))  # from the centroids of the round before
            tick(done + 1)
        quantizer = faiss.extract_index_ivf(index).quantizer
        quantizer.add(faiss.vector_to_array(clustering.centroids).reshape(layout.num_lists, -1))
        lists = cls(index)
        with lists.one_thread():  # hundreds of tiny k-means: with two threads it took five times as long
            index.train(sample)  # the codes; the centroids are there already
        return lists

    def add(self, numbers: Numbers, vectors: Vectors) -> None:
        """Put descriptors (N, D) into their lists."""
        self._index.add_with_ids(vectors, numbers)

    def candidates(self, queries: Vectors, count: int, nprobe: int, refine: int) -> Numbers:
        """Numbers (Q, count) of descriptors that seem most similar, best first; -1 where there are no more.

        Args:
            queries: (Q, D) of unit norm.
            count: how many.
            nprobe: lists that are read.
            refine: see `Setting`.
        """
        how = self._faiss.SearchParametersIVF(nprobe=min(nprobe, self.num_lists))
        if refine:
            how = self._faiss.SearchParametersPreTransform(index_params=how)
            how = self._faiss.IndexRefineSearchParameters(k_factor=float(refine), base_index_params=how)
        return np.asarray(self._index.search(queries, min(count, len(self)), params=how)[1], np.int64)

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        """While entered, this thread's calls start no others: for a single query those cost more than they give."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)

    def write(self, descriptor: int) -> tuple[int, int]:
        """Write everything to an open file.

        Returns:
            Bytes, and their CRC-32.

        Raises:
            OSError: the system refuses.
        """
        size = crc = 0

        def put(data: bytes) -> int:
            nonlocal size, crc
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            size, crc = size + len(data), zlib.crc32(data, crc)
            return len(data)

        self._faiss.write_index(self._index, self._faiss.PyCallbackIOWriter(put, _BUFFER))
        return size, crc

    @classmethod
    def read(cls, descriptor: int, num: int, dim: int, num_lists: int, setting: Setting) -> InvertedLists:
        """Map a file into memory, for reading. It must be one that `write` wrote, and stay as it is.

        Args:
            descriptor: of the open file; may be closed afterwards.
            num: descriptors that it must hold.
            dim: D that it must have.
            num_lists: likewise.
            setting: how it will be searched.

        Raises:
            BackendUnavailable: FAISS is not installed.
            StoreError: FAISS refuses it, or it holds something else.
        """
        faiss = _load()
        try:
            lists = cls(faiss.read_index(f"/dev/fd/{descriptor}", faiss.IO_FLAG_MMAP_IFC))
            index = lists._index
            expected = (num, dim, num_lists, faiss.METRIC_INNER_PRODUCT)
            fits = (index.ntotal, index.d, lists.num_lists, index.metric_type) == expected
            inner = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexIDMap) else index
            fits = fits and isinstance(inner, faiss.IndexRefine) == bool(setting.refine)
        except RuntimeError as error:
            raise StoreError(f"FAISS {faiss.__version__} cannot read it: {str(error).splitlines()[0]}") from error
        if not fits:
            raise StoreError("it holds another number or kind of descriptors than the database says")
        return lists


def principal_rotation(sample: Vectors, seed: int) -> Vectors:
    """R (D', D): the directions that hold `ENERGY` of a sample's squared length, turned at random.

    Args:
        sample: (N, D).
        seed: of the turn.

    Returns:
        D' is a multiple of 16, as codes are read in such steps. Where that is more than D, columns add nothing.
    """
    dim = sample.shape[1]
    values, vectors = np.linalg.eigh(sample.T.astype(np.float64) @ sample)  # ascending; not centred: R keeps products
    share = np.cumsum(values[::-1]) / values.sum()
    length = _STEP * math.ceil((int(np.searchsorted(share, ENERGY)) + 1) / _STEP)
    principal = np.zeros((length, dim))
    principal[: min(length, dim)] = vectors[:, ::-1].T[:length]
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((length, length)))[0]
    return np.ascontiguousarray(turn @ principal, np.float32)


def _rotated_index(faiss: Any, rotation: Vectors, num_lists: int) -> Any:
    length, dim = rotation.shape
    inner = faiss.METRIC_INNER_PRODUCT
    lists = faiss.IndexIVFPQFastScan(faiss.IndexFlatIP(length), length, num_lists, length // 2, 4, inner)
    turn = faiss.LinearTransform(dim, length, False)
    faiss.copy_array_to_vector(rotation.ravel(), turn.A)
    turn.is_trained = True
    whole = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, inner)
    return faiss.IndexIDMap(faiss.IndexRefine(faiss.IndexPreTransform(turn, lists), whole))


def checksum(descriptor: int) -> int:
    """CRC-32 of an open file, from its beginning."""
    crc, position, buffer = 0, 0, bytearray(_BUFFER)
    view = memoryview(buffer)
    while got := os.preadv(descriptor, [view], position):
        crc, position = zlib.crc32(view[:got], crc), position + got
    return crc
