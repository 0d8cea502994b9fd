"""A small benchmark and runs on it, ranked by hand, so that every number can be checked."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
from fastapi import FastAPI

from glocal.evaluation.benchmark import Benchmark
from glocal.evaluation.datasets.own import read_own
from glocal.evaluation.evaluate import answers_from_lists, benchmark_card, record_of
from glocal.evaluation.run_folder import write_run
from glocal.web import routes_lab
from glocal.web.problems import add_handlers
from glocal.web.settings import Settings
from tests.conftest import save, texture

NAMES = ("a0", "a1", "a2", "a3", "b0", "b1", "b2", "c0")
WEAK = {"a0": "a0 b1 a1 c0 a2 b0 b2", "b0": "b0 b1 b2 a0 a1 a2 a3 c0"}
STRONG = {"a0": "a0 a1 a2 a3 b0 b1 b2 c0", "b0": "b0 c0 b1 b2 a0 a1 a2 a3"}
"""Query -> what a run found, best first; the weak one never finds a3."""


def file_of(name: str) -> str:
    return f"photos/{name}.jpg"


def make_data(folder: Path) -> Path:
    for seed, name in enumerate(NAMES):
        save(folder / file_of(name), texture(seed, 160, 120), quality=80)
    queries = [
        {
            "query": file_of("a0"),
            "easy": [file_of("a1")],
            "hard": [file_of("a2"), file_of("a3")],
            "box": [10, 20, 90, 100],
        },
        {"query": file_of("b0"), "easy": [file_of("b1")], "hard": [file_of("b2")]},
    ]
    truth = {"gallery": [file_of(name) for name in NAMES], "queries": queries}
    (folder / "groundtruth.json").write_text(json.dumps(truth))
    return folder


def make_run(folder: Path, data: Path, found: dict[str, str], **card) -> Path:
    benchmark: Benchmark = read_own(data)
    lists = [[NAMES.index(name) for name in found[query].split()] for query in ("a0", "b0")]
    answers = answers_from_lists(benchmark, [np.array(each) for each in lists], {})
    about = {
        **benchmark_card(benchmark),
        "model": "rootsift",
        "rerank": "none",
        "distractors": "none",
        "crop": "on, corners by round",
        "date": "2026-01-02 03:04",
        "command": f"glocal eval {data} --model rootsift --out {folder}",
        **card,
    }
    write_run(folder, record_of(benchmark, answers, about, {"ms_per_query": 1.5}), benchmark, answers)
    return folder


def app_of(*folders: Path) -> FastAPI:
    app = FastAPI()
    add_handlers(app, lambda code: None)
    app.include_router(routes_lab.router(SimpleNamespace(settings=Settings(runs=tuple(folders)))))
    return app


class Client:
    """Asks an application in this process, its lifespan included; a bug is an answer 500."""

    def __init__(self, app: FastAPI) -> None:
        self._runner = asyncio.Runner()
        self._life = app.router.lifespan_context(app)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def __enter__(self) -> "Client":
        self._runner.run(self._life.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._http.aclose())
        self._runner.run(self._life.__aexit__(None, None, None))
        self._runner.close()

    def get(self, path: str, **options) -> httpx.Response:
        return self._runner.run(self._http.get(path, **options))
