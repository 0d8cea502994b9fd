"""Photo -> hits: the one place where all stages meet."""

from glocal.search.arguments import RERANKERS
from glocal.search.pair import PairReport, compare_photos, view_of
from glocal.search.query import Described, PhotoSource, PictureBytes, Query, Vectors
from glocal.search.reading import read_pixels
from glocal.search.result import Match, SearchResult
from glocal.search.searcher import MAX_CACHED_BYTES, MIN_FEATURES, TURN_PENALTY, Searcher
from glocal.search.selection import Selection

__all__ = [
    "MAX_CACHED_BYTES",
    "MIN_FEATURES",
    "RERANKERS",
    "TURN_PENALTY",
    "Described",
    "Match",
    "PairReport",
    "PhotoSource",
    "PictureBytes",
    "Query",
    "SearchResult",
    "Searcher",
    "Selection",
    "Vectors",
    "compare_photos",
    "read_pixels",
    "view_of",
]
