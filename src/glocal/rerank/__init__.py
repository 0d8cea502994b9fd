"""From a shortlist to verified hits. As a function, `glocal.rerank(query, candidates)`: see `glocal.candidates`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import glocal


class _CallablePackage(ModuleType):
    """One name for two things: importing anything from here makes `glocal.rerank` this package, so it can be called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return glocal.__getattr__("rerank")(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
