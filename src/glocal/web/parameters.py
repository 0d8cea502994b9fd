"""The shapes of requests: a member that nobody knows is refused, and no text is taken for a number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from glocal.web.schemas import Ask, ImageId, IndexId, Number, QueryId, Share
from glocal.web.selecting import Filter

MAX_TOPK = 1000
MAX_CANDIDATES = 100
MAX_VIEWS = 8
MAX_BUDGET_MS = 60_000
MAX_DRAWN = 100
"""Results of which the match lines may be asked for at once: some forty thousand lines."""


class ImageRef(Ask):
    """A picture: its bytes, one of the index, or one that was asked before. Exactly one of them."""

    base64: str | None = Field(None, description="the file in base64, with padding")
    id: ImageId | None = Field(None, description="a picture of the index")
    query: QueryId | None = Field(None, description="the picture of an earlier query, which is remembered for a while")
    url: str | None = Field(None, description="not taken: addresses are not fetched")

    @model_validator(mode="after")
    def _exactly_one(self) -> ImageRef:
        if self.url is not None:
            raise ValueError("addresses (url) are off: the service fetches nothing → send the bytes")
        if sum(value is not None for value in (self.base64, self.id, self.query)) != 1:
            raise ValueError("name the picture by exactly one of base64, id and query")
        return self


class Budget(Ask):
    """How long candidates are verified."""

    budget_ms: Annotated[int, Field(ge=1, le=MAX_BUDGET_MS)] | None = Field(
        default=None, description="milliseconds; what is not verified by then comes after the others, by similarity"
    )

    @property
    def seconds(self) -> float | None:
        """The same in seconds; None for as long as it takes."""
        return None if self.budget_ms is None else self.budget_ms / 1000


class Rerank(Budget):
    """How the candidates are ordered."""

    method: Literal["geometric", "none"] = "geometric"
    depth: Annotated[int, Field(ge=1, le=MAX_TOPK)] | None = None
    """Candidates that are verified at most; else as many as the model was measured with."""


class QueryParams(Ask):
    """What every question about one picture may have."""

    index: IndexId | None = Field(None, description="the first index if it is left out")
    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = Field(
        None, description="x, y, width, height of the object in the upright picture"
    )
    box_unit: Literal["px", "ratio"] = "px"
    upright: bool = Field(False, description="describe the picture only as it is, not turned by quarters too")


Views = Annotated[list[ImageRef], Field(min_length=1, max_length=MAX_VIEWS)]


class SelectingParams(QueryParams):
    """What every question to an index may have besides its picture."""

    filter: Filter | None = Field(None, description="which pictures may be found")


class SearchParams(SelectingParams):
    """What a search may have besides its picture."""

    topk: int = Field(20, ge=1, le=MAX_TOPK, description="most results")
    offset: int = Field(0, ge=0, le=MAX_TOPK, description="results that are left out at the front")
    rerank: Rerank = Rerank()
    min_probability: Share | None = Field(None, description="only results that are as sure as this")
    include: Annotated[list[Literal["matches", "metadata"]], Field(max_length=2)] = Field(
        [], description='"matches": lines of every verified result; "metadata": what is known of its file'
    )


class RecognizeParams(SelectingParams):
    """What a recognition may have besides its picture."""

    rerank: Budget = Budget()


class ViewsRequest(Ask):
    """One picture, or several views of the same thing."""

    image: ImageRef | None = None
    images: Views | None = Field(None, description="several views of the same thing, instead of image")

    @model_validator(mode="after")
    def _is_one_or_several(self) -> ViewsRequest:
        if (self.image is None) == (self.images is None):
            raise ValueError("name the picture by image, or several views of the same thing by images")
        return self

    @property
    def views(self) -> list[ImageRef]:
        """All pictures that are named."""
        return [self.image] if self.image is not None else list(self.images or ())


class SearchRequest(SearchParams, ViewsRequest):
    """A search whose picture is named in JSON."""


class RecognizeRequest(RecognizeParams, ViewsRequest):
    """A recognition whose picture is named in JSON."""


class EmbedParams(QueryParams):
    """What a description may have besides its picture."""


class EmbedRequest(EmbedParams):
    """A description of a picture that is named in JSON."""

    image: ImageRef


class MatchParams(Ask):
    """What a comparison of two pictures may have besides them."""

    index: IndexId | None = Field(None, description="whose model compares them; the first index if it is left out")


class MatchRequest(MatchParams):
    """A comparison of two pictures that are named in JSON."""

    first: ImageRef
    second: ImageRef


class Candidate(Ask):
    """One of somebody else's candidates."""

    id: str = Field(min_length=1, max_length=512, description="comes back with the result")
    image: ImageRef


class RerankRequest(QueryParams):
    """Somebody else's candidates for a query."""

    query: ImageRef
    candidates: Annotated[list[Candidate], Field(min_length=1, max_length=MAX_CANDIDATES)]
    topk: int = Field(MAX_CANDIDATES, ge=1, le=MAX_TOPK)


REQUESTS: tuple[type[BaseModel], ...] = (
    SearchParams,
    SearchRequest,
    RecognizeParams,
    RecognizeRequest,
    EmbedParams,
    EmbedRequest,
    MatchParams,
    MatchRequest,
    RerankRequest,
)
"""Bodies that are read by `glocal.web.uploads` and not by the framework."""
