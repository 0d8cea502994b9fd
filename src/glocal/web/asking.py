"""From the parameters of a request to a query that is described, and to the members of the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from glocal.errors import BackendUnavailable, ConfigError, ImageError
from glocal.search import Described, PictureBytes
from glocal.types import Box
from glocal.web import answers
from glocal.web.answers import Members
from glocal.web.engine import Bench
from glocal.web.library import ServedIndex
from glocal.web.parameters import ImageRef, QueryParams
from glocal.web.problems import Problem
from glocal.web.queries import QueryRecord
from glocal.web.service import Service
from glocal.web.uploads import decode_base64

UPLOADED = "the picture"


@dataclass(frozen=True, slots=True)
class Asked:
    """A picture as a request names it.

    Attributes:
        data: its bytes; None if it is named otherwise.
        image_id: a picture of the index.
        record: an earlier query.
    """

    data: bytes | None = None
    image_id: str | None = None
    record: QueryRecord | None = None


def asked_picture(service: Service, upload: bytes | None, ref: ImageRef | None) -> Asked:
    """The picture that a request names, whatever way it does.

    Raises:
        Problem: `invalid_params` or `query_expired`.
    """
    if ref is None:
        if upload is None:
            raise Problem("invalid_params", 'There is no picture: a part "image" with a file, or JSON with "image".')
        return Asked(upload)
    if ref.base64 is not None:
        return Asked(decode_base64(ref.base64))
    if ref.id is not None:
        return Asked(image_id=ref.id)
    assert ref.query is not None
    return Asked(record=service.queries.get(ref.query))


def picture_of(asked: Asked, index: ServedIndex, name: str = UPLOADED) -> PictureBytes:
    """The bytes of a picture.

    Raises:
        Problem: `image_not_found`.
    """
    if asked.data is not None:
        return PictureBytes(asked.data, name)
    if asked.record is not None:
        return PictureBytes(asked.record.picture.data, name)
    found = index.find(asked.image_id or "")
    if found is None:
        raise Problem("image_not_found", "There is no such picture in this index.")
    try:
        return PictureBytes(found.read(), name)
    except (BackendUnavailable, ConfigError, ImageError):
        hint = "update the index"
        raise Problem("image_not_found", "The file of this picture cannot be read any more.", hint) from None


def described_query(
    bench: Bench,
    index: ServedIndex,
    asked: Asked,
    params: QueryParams,
    name: str = UPLOADED,
    first_way: bool = False,
) -> tuple[Described, PictureBytes]:
    """A query with its features: those of an earlier query, if it was asked in the same way.

    Args:
        bench: describes it.
        index: where a picture of the index is looked up.
        asked: the picture.
        params: how it is to be described.
        name: what messages call it.
        first_way: describe it only as it is, if it has to be described at all.

    Raises:
        Problem: `invalid_box`, `image_not_found`.
        ImageError: the picture cannot be read.
    """
    record = asked.record
    picture = picture_of(asked, index, name)
    box: Box | None = None if params.box is None else (params.box[0], params.box[1], params.box[2], params.box[3])
    if box is not None:
        if not (box[2] > 0 and box[3] > 0 and all(abs(value) < 1e9 for value in box)):
            raise Problem("invalid_box", "A box has x, y, width and height, of which the last two are above 0.")
        if params.box_unit == "ratio":
            size = record.described.query.size if record else bench.searcher.size_of(picture)
            box = (box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1])
    if record is not None and (record.described.asked, record.upright, record.spec) == (
        box,
        params.upright,
        bench.collection.spec,
    ):
        complete = params.upright or first_way
        return record.described if complete else bench.searcher.describe_rest(record.described, picture), picture
    try:
        return bench.searcher.describe(picture, box, params.upright or first_way), picture
    except ConfigError as error:
        if box is None:
            raise
        raise Problem("invalid_box", f"{error}".partition(" → ")[0], "x, y, width, height in the picture") from None


def expect_detail(bench: Bench, views: Sequence[Described]) -> None:
    """Refuse a query that cannot identify anything, none of its views: a blank wall is not answered with noise.

    Raises:
        Problem: `image_too_simple`.
    """
    if not all(bench.searcher.is_plain(view) for view in views):
        return
    count = views[0].query.num_features
    what = f"The picture has almost no detail ({count} local features): it cannot"
    raise Problem(
        "image_too_simple",
        f"{what if len(views) == 1 else 'The pictures have almost no detail: they cannot'} identify an object.",
        'for look-alikes ask with "rerank": {"method": "none"}',
    )


def matches(record: QueryRecord, image_id: str) -> Callable[[Bench], Members]:
    """What a searcher has to do to show where a query and a picture of the index agree."""

    def work(bench: Bench) -> Members:
        if bench.collection.spec != record.spec:
            raise Problem("index_model_mismatch", "The query was described by another model.", "search in this index")
        with bench.collection.snapshot():
            there = bool(bench.collection.paths(image_id))
        if not there:
            raise Problem("image_not_found", "There is no such picture in this index.")
        hit, _ = bench.searcher.verify(record.described, image_id)
        found = hit.verification
        verification = answers.verification_members(found)
        return {
            "query": answers.frame_members(record.described.query.size, record.described.query.box),
            "target": {
                "id": hit.id,
                "name": answers.shown_name(hit.name),
                "width": hit.size[0],
                "height": hit.size[1],
            },
            **answers.judgement_members(hit),
            "verification": verification,
            "lines": answers.line_members(hit.view),
            "turn": 0 if found is None else found.turn,
            "query_quad": None if verification is None else verification["query_quad"],
        }

    return work
