"""glocal finds the same thing - a building, a painting, a product - in any collection of photos, and shows the proof.

    import glocal

    index = glocal.Index.create("catalogue.glocal")
    index.add("catalogue/", progress=True)
    for hit in index.search("query.jpg", topk=5):
        print(hit.path, hit.probability, hit.inliers, hit.target_quad)
    hit.plot("why.png")

Importing the package is cheap: names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.candidates import rerank
    from glocal.errors import ImageError, RetrievalError
    from glocal.extract.load import load
    from glocal.models.catalogue import create_model, list_models, register_model
    from glocal.photo_index import Index
    from glocal.rerank.geometric import verify_pair
    from glocal.search import Match, Searcher, SearchResult

__version__ = "0.1.0"

_HOMES = {
    "ImageError": "glocal.errors",
    "Index": "glocal.photo_index",
    "Match": "glocal.search",
    "RetrievalError": "glocal.errors",
    "SearchResult": "glocal.search",
    "Searcher": "glocal.search",
    "create_model": "glocal.models.catalogue",
    "list_models": "glocal.models.catalogue",
    "load": "glocal.extract.load",
    "register_model": "glocal.models.catalogue",
    "rerank": "glocal.candidates",
    "verify_pair": "glocal.rerank.geometric",
}

__all__ = [
    "ImageError",
    "Index",
    "Match",
    "RetrievalError",
    "SearchResult",
    "Searcher",
    "__version__",
    "create_model",
    "list_models",
    "load",
    "register_model",
    "rerank",
    "verify_pair",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'glocal' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
