"""The shapes of answers; those of requests are in `glocal.web.parameters`. OpenAPI is made from both."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
ImageId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
IndexId = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
QueryId = Annotated[str, Field(pattern="^q_[A-Za-z0-9_-]{1,64}$")]
Box = tuple[Number, Number, Number, Number]
Point = tuple[Number, Number]
BandName = Literal["same", "possibly", "look_alike"]


class Answer(BaseModel):
    """What the service sends."""

    model_config = ConfigDict(extra="forbid")


class Ask(BaseModel):
    """What a client sends: a member that nobody knows is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ProblemBody(Answer):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    request_id: str


# ---------------------------------------------------------------------- what is answered
class Features(Answer):
    """How much was found in a query."""

    local: int


class QueryOut(Answer):
    """The picture that was asked about."""

    id: str | None
    width: int
    height: int
    box: Box | None
    features: Features


class IndexOut(Answer):
    """The index that was asked."""

    id: str
    size: int = Field(description="different pictures that were compared")
    model: str
    model_hash: str
    version: int = Field(description="grows with every change since the service started")


class VerificationOut(Answer):
    """Where two pictures agree."""

    inliers: int
    tentative: int
    model: Literal["homography"] | None
    H: list[tuple[Number, Number, Number]] | None = Field(description="pixels of the query -> pixels of the picture")
    query_overlap: Share
    target_overlap: Share
    mirrored: bool
    query_quad: list[Point] | None
    target_quad: list[Point] | None
    turn: int = Field(description="quarter turns counter-clockwise by which the query was turned for it")


Line = tuple[Number, Number, Number, Number, Literal[0, 1]]


class Metadata(Answer):
    """What the index knows of a picture's first file."""

    bytes: int
    modified: str | None = Field(description="when the file was modified, in UTC; null if its store does not say it")


class ResultOut(Answer):
    """One picture that was found."""

    rank: int
    id: str
    path: str = Field(description="relative to the index's folder, for people")
    name: str
    label: str | None
    copies: list[str]
    width: int
    height: int
    similarity: Number
    probability: Share | None
    band: BandName
    verification: VerificationOut | None
    query_number: int = Field(description="the view that found it, from 0")
    matches_url: str | None
    thumb_url: str
    lines: list[Line] | None = Field(None, description="of a verified result, as in /v1/matches, if they are asked for")
    metadata: Metadata | None = Field(None, description="if it is asked for")


class Timing(Answer):
    """Milliseconds by stage."""

    decode: Number
    extract: Number
    search: Number
    rerank: Number
    total: Number


class SearchAnswer(Answer):
    """The answer to a search."""

    query: QueryOut = Field(description="the first view")
    views: list[QueryId] = Field(description="the queries as which all views are remembered")
    index: IndexOut
    verdict: Literal["match", "uncertain", "no_match", "not_judged"]
    verified: bool = Field(description="false for the first answer of a stream: by similarity alone")
    results: list[ResultOut]
    total_candidates: int = Field(description="pictures that the list could go on to")
    verified_candidates: int = Field(description="those that were verified")
    selected: int = Field(description="pictures that the filter leaves")
    next_offset: int | None
    timing_ms: Timing
    warnings: list[str]


class QueryEvent(Answer):
    """The first event of a stream."""

    query: QueryOut
    views: list[QueryId]
    index: IndexOut


class TargetOut(Answer):
    """A picture of an index."""

    id: str
    name: str
    width: int
    height: int


class FrameOut(Answer):
    """A picture's frame."""

    width: int
    height: int
    box: Box | None


class MatchesAnswer(Answer):
    """Where a query and a picture of an index agree, to be drawn."""

    query: FrameOut
    target: TargetOut
    similarity: Number
    probability: Share | None
    band: BandName
    verification: VerificationOut | None
    lines: list[Line] = Field(description="x, y in the query, x, y in the picture, and whether they agree")
    turn: int
    query_quad: list[Point] | None


class MatchAnswer(Answer):
    """Two pictures compared."""

    first: FrameOut
    second: FrameOut
    similarity: Number
    probability: Share | None
    band: BandName
    verdict: Literal["same", "possibly", "look_alike", "not_judged"]
    verification: VerificationOut | None
    lines: list[Line]


class RerankResult(Answer):
    """One candidate."""

    rank: int
    id: str
    similarity: Number
    probability: Share | None
    band: BandName
    verification: VerificationOut | None


class SkippedCandidate(Answer):
    """A candidate that could not be compared."""

    id: str
    code: str
    detail: str


class RerankAnswer(Answer):
    """Somebody else's candidates, best first."""

    query: QueryOut
    verdict: Literal["match", "uncertain", "no_match", "not_judged"]
    results: list[RerankResult]
    skipped: list[SkippedCandidate]
    warnings: list[str]
    timing_ms: dict[str, Number]


class VoteOut(Answer):
    """What one label got."""

    label: str
    score: Number
    share: Share
    band: BandName | None
    evidence: list[ResultOut]


class RecognizeAnswer(Answer):
    """What a picture shows."""

    label: str | None
    verdict: Literal["same", "possibly", "not_judged", "unknown"]
    confidence: Share | None
    reason: str
    votes: list[VoteOut]
    query: QueryOut
    views: list[QueryId]
    index: IndexOut
    timing_ms: Timing
    warnings: list[str]


class EmbedAnswer(Answer):
    """The descriptor of a picture."""

    descriptor: list[Number]
    dim: int
    model: str
    model_hash: str
    query: QueryOut


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that may answer with these statuses, as problems."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    return {code: {"description": STATUS_WORDS[code], "content": content} for code in sorted({*codes, *EVERYWHERE})}


EVERYWHERE = (400, 401, 403, 405, 421, 431, 503)
STATUS_WORDS = {
    400: "the request makes no sense",
    401: "a key is needed",
    403: "asked by another web page",
    404: "there is no such thing",
    405: "another method is expected",
    408: "the body took too long to arrive",
    409: "the index cannot do that now",
    413: "too many bytes, pixels or parts",
    415: "another type of body or picture is expected",
    421: "asked for another host",
    422: "the picture cannot be used, or a value is above its limit",
    429: "too many requests",
    431: "too many bytes of headers",
    503: "busy, not ready, or about to end; try again",
}
