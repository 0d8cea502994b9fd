"""The shapes of requests: a member that nobody knows is refused, and no text is taken for a number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from glocal.web.schemas import Ask, ImageId, IndexId, Number, QueryId, Share

MAX_TOPK = 1000
MAX_CANDIDATES = 100


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


class Rerank(Ask):
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


class SearchParams(QueryParams):
    """What a search may have besides its picture."""

    topk: int = Field(20, ge=1, le=MAX_TOPK, description="most results")
    offset: int = Field(0, ge=0, le=MAX_TOPK, description="results that are left out at the front")
    rerank: Rerank = Rerank()
    min_probability: Share | None = Field(None, description="only results that are as sure as this")


class SearchRequest(SearchParams):
    """A search whose picture is named in JSON."""

    image: ImageRef


class RecognizeRequest(QueryParams):
    """A recognition whose picture is named in JSON."""

    image: ImageRef


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
    QueryParams,
    RecognizeRequest,
    EmbedParams,
    EmbedRequest,
    MatchParams,
    MatchRequest,
    RerankRequest,
)
"""Bodies that are read by `glocal.web.uploads` and not by the framework."""
