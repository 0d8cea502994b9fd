"""Alive, ready, measured."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from uvicorn.server import ServerState

from glocal.web import ports, server
from glocal.web.telemetry import Telemetry
from tests.conftest import save, texture
from tests.web.served import Served, make_index, problem, until


@pytest.fixture
def place(tmp_path):
    save(tmp_path / "photos/secret name.jpg", texture(0))
    save(tmp_path / "photos/2.jpg", texture(1))
    return make_index(tmp_path / "photos")


def measures(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(text)
    return {(each.name, tuple(each.labels.values())): each.value for family in families for each in family.samples}


def test_it_is_alive_without_an_index_and_without_a_model(tmp_path):
    with Served(tmp_path / "nothing") as served:
        for path in ("/livez", "/healthz"):
            answer = served.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_it_is_ready_once_an_index_has_answered_about_itself(place):
    with Served(place) as served:
        told = problem(served.get("/readyz"), 503, "index_loading")
        assert "photos" in told["detail"]
        assert int(served.get("/readyz").headers["retry-after"]) > 0
        served.start()
        assert served.get("/readyz").json() == {"status": "ready"}


def test_an_index_that_is_not_there_is_named_by_readiness(tmp_path):
    with Served(tmp_path / "nothing/here") as served:
        served.service.start()
        until(lambda: served.service.library.indexes[0].state == "failed")
        told = problem(served.get("/readyz"), 503, "index_loading")
        assert "here" in told["detail"]
        assert str(tmp_path) not in told["detail"]


def test_an_index_that_is_damaged_while_it_is_served_makes_it_unready(place, monkeypatch):
    monkeypatch.setattr("glocal.web.routes_health.LOOK_EVERY_S", 0.0)
    with Served(place) as served:
        served.start()
        assert served.get("/readyz").status_code == 200
        for name in ("glocal.db-wal", "glocal.db-shm"):
            with contextlib.suppress(FileNotFoundError):
                (place / name).unlink()
        damaged = place / "damaged"
        damaged.write_bytes(b"SQLite format 3\0" + bytes(8000))
        damaged.replace(place / "glocal.db")
        until(lambda: served.get("/readyz").status_code == 503)
        problem(served.get("/readyz"), 503, "index_loading")
        assert served.get("/livez").status_code == 200


def test_an_index_that_is_made_meanwhile_does_not_make_it_unready(place, tmp_path):
    with Served(place, data_dir=tmp_path / "data") as served:
        served.start()
        assert served.get("/readyz").status_code == 200
        assert served.post("/v1/indexes", json={"id": "new"}).status_code == 201
        assert served.get("/readyz").status_code == 200
        until(lambda: served.service.library.get("new").state == "ready")


def test_it_is_not_ready_any_more_when_it_ends(place):
    with Served(place) as served:
        served.start()
        served.service.drain()
        problem(served.get("/readyz"), 503, "shutting_down")
        assert served.get("/livez").status_code == 200


def test_the_measures_count_photos_searches_and_refusals_and_name_no_file(place, tmp_path):
    with Served(place) as served:
        served.start()
        sent = {"image": (tmp_path / "photos/2.jpg").read_bytes()}
        assert served.post("/v1/search", files=sent).status_code == 200
        assert served.post("/v1/search", files={"image": b"nothing"}).status_code == 415
        answer = served.get("/metrics")
        found = measures(answer.text)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert found["glocal_index_images", ("photos",)] == 2
        assert found["glocal_ready", ()] == 1
        assert found["glocal_queue_length", ()] == 0
        assert found["glocal_rejected_total", ("unsupported_format",)] == 1
        counts = [value for (name, labels), value in found.items() if name == "glocal_search_seconds_count"]
        assert sum(counts) == 1
        assert found["glocal_jobs", ("running",)] == 0
        assert "secret" not in answer.text
        assert str(tmp_path) not in answer.text


def test_each_service_has_a_registry_of_its_own():
    first, second = Telemetry(), Telemetry()
    first.rejected("timeout")
    assert measures(first.text().decode())["glocal_rejected_total", ("timeout",)] == 1
    assert ("glocal_rejected_total", ("timeout",)) not in measures(second.text().decode())


def test_the_body_of_an_answer_does_not_wait_until_the_client_confirms_its_headers(tmp_path):
    seen = []

    class Noted(server._Connection):
        def connection_made(self, transport):
            super().connection_made(transport)
            seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def connect(listener):
        config = uvicorn.Config(lambda *_: None, lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        accepting = await asyncio.get_running_loop().create_server(lambda: Noted(config, state, {}), sock=listener)
        _, writer = await asyncio.open_connection(*listener.getsockname())
        while not seen:
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        accepting.close()

    listener, _ = ports.bind("127.0.0.1", 0)
    with listener:
        asyncio.run(asyncio.wait_for(connect(listener), 20))
    assert seen == [1]
