"""What indexing a number of pictures would take - disk, memory, time - and what the cheaper ways would.

Sizes are those of the codec and of the nearest-neighbour file themselves, never written down a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glocal.extract.sampling import Sample
from glocal.index.choice import choose
from glocal.rerank.geometric import DEFAULTS
from glocal.search import MAX_CACHED_BYTES
from glocal.store.codec import encode_vector, most_bytes
from glocal.store.collection import DESCRIPTOR_BLOCK
from glocal.store.rows import LocalForm
from glocal.types import ExtractorSpec

ROW_BYTES = 1000
"""A photo's names, size and hash, and the database's own."""
_FLOAT = 4
NO_LOCAL = "none"


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is.

    Attributes:
        free_bytes: on the disk where the index goes.
        memory_bytes: of main memory.
        workers: processes that read photos.
        cores: that they run on.
        has_faiss: whether large collections get a nearest-neighbour file.
    """

    free_bytes: int
    memory_bytes: int
    workers: int
    cores: int
    has_faiss: bool = True


@dataclass(frozen=True, slots=True)
class Way:
    """One way of indexing, and what it takes.

    Attributes:
        model: its name.
        local: how local descriptors are kept: a form of `LocalForm`, or "none".
        max_features: most local features of one picture.
        global_bytes: of all global descriptors on disk.
        local_bytes: of all local features on disk.
        row_bytes: of the catalogue.
        cache_bytes: of the nearest-neighbour file; 0 for a collection that is compared whole.
        ram_bytes: that a search needs beside the program and the model.
        seconds: to describe all pictures; None where nothing was timed.
        is_measured: whether local bytes come from a sample; else they are the most that they can be.
        how: options of `glocal index`; None where it has none for this.
    """

    model: str
    local: str
    max_features: int
    global_bytes: int
    local_bytes: int
    row_bytes: int
    cache_bytes: int
    ram_bytes: int
    seconds: float | None
    is_measured: bool
    how: str | None

    @property
    def disk_bytes(self) -> int:
        """On disk, together."""
        return self.global_bytes + self.local_bytes + self.row_bytes + self.cache_bytes


def ways_of(
    pictures: int,
    spec: ExtractorSpec,
    machine: Machine,
    sample: Sample | None = None,
    source: str | None = None,
    has_signs: bool = True,
    only_default: bool = False,
) -> list[Way]:
    """The ways of indexing with one model: as it is, with other forms of local descriptors, with half of them, without.

    Args:
        pictures: how many.
        spec: of the model.
        machine: where.
        sample: some of the pictures, described; None if nothing was measured.
        source: what `--model` takes; None for the model's name.
        has_signs: whether the signs of its local descriptors say something: those of a classical model do not.
        only_default: as it is and no other.
    """
    option = f"--model {source or spec.model}"
    forms: list[tuple[str, int, str | None]] = []
    if spec.local_dim:
        half = spec.max_features // 2
        forms.append((LocalForm.INT8, spec.max_features, option))
        if not only_default:
            forms.append((LocalForm.FLOAT16, spec.max_features, f"{option} --local float16"))
            forms.append((LocalForm.INT8, half, None))
            if has_signs and spec.local_dim % 8 == 0:
                forms.append((LocalForm.BINARY, spec.max_features, f"{option} --local binary"))
            forms.append((NO_LOCAL, 0, None))
    else:
        forms.append((NO_LOCAL, 0, option))
    return [_way(pictures, spec, machine, sample, *form) for form in forms]


def _way(
    pictures: int,
    spec: ExtractorSpec,
    machine: Machine,
    sample: Sample | None,
    local: str,
    max_features: int,
    how: str | None,
) -> Way:
    layout = choose(pictures, spec.dim, machine.memory_bytes) if machine.has_faiss else None
    cache_bytes = layout.num_bytes if layout else 0
    if local == NO_LOCAL:
        each = features = 0.0
    else:
        form = LocalForm(local)
        measured = sample and (sample.local_bytes if max_features == spec.max_features else sample.half_bytes)
        each = measured[form] if measured else most_bytes(max_features, spec.local_dim, form)
        features = min(max_features, sample.num_features) if sample else max_features
    return Way(
        model=spec.model,
        local=str(local),
        max_features=max_features,
        global_bytes=pictures * vector_bytes(spec.dim),
        local_bytes=round(pictures * each),
        row_bytes=pictures * ROW_BYTES,
        cache_bytes=cache_bytes,
        ram_bytes=_ram(pictures, spec, local, features, cache_bytes),
        seconds=None if sample is None else pictures * seconds_per_picture(sample, machine),
        is_measured=sample is not None,
        how=how,
    )


def vector_bytes(dim: int) -> int:
    """Bytes of one global descriptor on disk."""
    return len(encode_vector(np.zeros(dim, np.float32)))


def most_bytes_per_photo(spec: ExtractorSpec, form: LocalForm) -> int:
    """What one photo takes at most in the database."""
    return ROW_BYTES + vector_bytes(spec.dim) + most_bytes(spec.max_features, spec.local_dim, form)


def _ram(pictures: int, spec: ExtractorSpec, local: str, features: float, cache_bytes: int) -> int:
    """What a search holds: what it compares the query with, and the local features of the candidates."""
    row = spec.dim * _FLOAT
    held = pictures * row
    if cache_bytes:
        held = cache_bytes
    elif held > MAX_CACHED_BYTES:
        held = DESCRIPTOR_BLOCK * row  # read block by block
    numbers = spec.local_dim / 8 if local == LocalForm.BINARY else spec.local_dim * _FLOAT
    place = 2 * _FLOAT if local == LocalForm.BINARY else 4 * _FLOAT
    return round(held + DEFAULTS.depth * features * (numbers + place))


def seconds_per_picture(sample: Sample, machine: Machine) -> float:
    """Seconds that one picture costs a long run, all workers together.

    Whatever is busy first sets the pace: the processes that decode, the threads of the network, or the cores that both
    share. A network on a GPU leaves the cores to the others.
    """
    decode_s, extract_s = sample.decode_s, sample.extract_s
    if not sample.threads:
        return (decode_s + extract_s) / machine.workers
    shared_s = (decode_s + extract_s) / machine.cores if sample.threads > 1 or machine.cores == 1 else 0.0
    return max(decode_s / machine.workers, extract_s / sample.threads, shared_s)


def cheaper(ways: Sequence[Way], than: Way, free_bytes: int) -> list[Way]:
    """Those of some ways that fit on the disk, can be chosen and take less of it, the largest first."""
    fitting = [way for way in ways if way.how and way.disk_bytes <= free_bytes and way.disk_bytes < than.disk_bytes]
    return sorted(fitting, key=lambda way: -way.disk_bytes)
