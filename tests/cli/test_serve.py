"""`glocal serve` as a process: one address, one port, an orderly end."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

import glocal
from glocal.cli import exits, serve
from glocal.cli.main import main
from glocal.web import ports, qr_code
from tests.conftest import save, texture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve") / "photos"
    for seed in range(3):
        save(folder / f"{seed}.jpg", texture(seed))
    with contextlib.closing(glocal.Index.create(folder / ".glocal", model="rootsift")) as index:
        index.add(folder)
    return folder


class Running:
    """A server process; its address is `port`."""

    def __init__(self, *words, key=None, cwd=None):
        env = {**os.environ, "GLOCAL_MODEL": "rootsift"} | ({"GLOCAL_KEY": key} if key else {})
        command = [sys.executable, "-m", "glocal", "serve", *map(str, words), "--no-open"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, env=env, cwd=cwd, text=True)
        self.url = self.process.stdout.readline().strip()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/(\?key=\S+)?", self.url)
        assert match, self.process.communicate()
        self.port = int(match[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def get(self, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get_headers(self, path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path)
            return connection.getresponse().headers

    def ready(self):
        ends = time.monotonic() + 60
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < ends
            time.sleep(0.05)
        return self

    def end(self, number=signal.SIGTERM):
        """Exit code, seconds, stdout, stderr."""
        started = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, time.monotonic() - started, out, err


def listening(pid: int) -> set[int]:
    """TCP ports on which a process listens."""
    inodes = set()
    for each in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(f"/proc/{pid}/fd/{each}"))
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")
def test_it_prints_one_address_opens_one_port_and_says_nothing_of_what_is_asked(folder):
    with Running(folder, "--port", 0) as server:
        server.ready()
        assert listening(server.process.pid) == {server.port}
        photo = (folder / "1.jpg").read_bytes()
        body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="my secret.jpg"\r\n\r\n' + photo
        request = urllib.request.Request(
            f"{server.url}v1/search", body + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["results"][0]["name"] == "1.jpg"
        assert b"<html" in server.get("/")[1]
        assert server.get("/v1/indexes?index=../secret")[0] == 200
        code, _, out, err = server.end()
        assert (code, out) == (0, "")
        assert "secret" not in err
        assert str(folder) not in err


def test_sigterm_ends_it_with_0_and_ctrl_c_with_130(folder):
    for number, expected in ((signal.SIGTERM, exits.DONE), (signal.SIGINT, exits.INTERRUPTED)):
        with Running(folder, "--port", 0) as server:
            server.ready()
            code, seconds, _, err = server.end(number)
            assert code == expected
            assert seconds < 10
            assert "Traceback" not in err


def test_a_signal_that_comes_twice_at_once_is_one_and_a_later_one_ends_it_now(folder):
    with Running(folder, "--port", 0) as server:
        server.ready()
        server.process.send_signal(signal.SIGTERM)
        code, _, _, err = server.end()
        assert (code, err) == (0, "")
    with Running(folder, "--port", 0) as server:
        server.ready()
        with socket.create_connection(("127.0.0.1", server.port)) as stuck:
            stuck.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
            stuck.sendall(b"Content-Type: application/json\r\n\r\n{")
            time.sleep(0.5)
            server.process.send_signal(signal.SIGINT)
            time.sleep(1)
            assert server.process.poll() is None
            code, seconds, _, err = server.end(signal.SIGINT)
            assert (code, err) == (exits.INTERRUPTED, "")
            assert seconds < 5


def test_an_upload_in_flight_is_answered_after_sigterm_and_a_new_request_is_not(folder):
    with Running(folder, "--port", 0) as server:
        server.ready()
        photo = (folder / "1.jpg").read_bytes()
        body = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + photo + b"\r\n--x--\r\n"
        slow = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        slow.putrequest("POST", "/v1/search")
        slow.putheader("Content-Type", "multipart/form-data; boundary=x")
        slow.putheader("Content-Length", str(len(body)))
        slow.endheaders()
        slow.send(body[:1000])
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        status, told = server.get("/v1/indexes")
        assert (status, json.loads(told)["code"]) == (503, "shutting_down")
        status, told = server.get("/readyz")
        assert (status, json.loads(told)["code"]) == (503, "shutting_down")
        assert server.get("/livez")[0] == 200
        slow.send(body[1000:])
        answer = slow.getresponse()
        assert answer.status == 200
        assert json.load(answer)["results"][0]["name"] == "1.jpg"
        slow.close()
        server.process.communicate(timeout=15)
        assert server.process.returncode == 0


def test_an_upload_that_never_ends_does_not_keep_it_from_ending(folder):
    with Running(folder, "--port", 0) as server:
        server.ready()
        with socket.create_connection(("127.0.0.1", server.port)) as stuck:
            stuck.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
            stuck.sendall(b"Content-Type: application/json\r\n\r\n{")
            time.sleep(0.5)
            code, seconds, _, _ = server.end()
            assert code == 0
            assert seconds <= 15


def test_a_port_that_is_taken_is_told_and_the_next_one_used(folder):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Running(folder, "--port", port) as server:
            assert server.port > port
            _, _, _, err = server.end()
    assert re.search(rf"^Port {port} is used by \S+ \(pid {os.getpid()}\)\. Using {server.port}\.$", err, re.M)


def test_a_key_is_asked_for_and_never_shown_in_a_log(folder):
    key = "a key of some length"
    with Running(folder, "--port", 0, key=key) as server:
        assert "key" not in server.url
        assert server.get("/v1/indexes")[0] == 401
        assert server.get("/v1/indexes", Authorization=f"Bearer {key}")[0] == 200
        assert server.get("/livez")[0] == 200
        assert key.encode() not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        _, _, out, err = server.end()
        assert key not in out + err


def test_a_key_that_it_made_itself_is_in_the_address(folder):
    with Running(folder, "--port", 0, "--key", "new") as server:
        key = server.url.partition("?key=")[2]
        assert len(key) >= 24
        assert server.get(f"/?key={key}")[0] == 303
        assert server.get("/?key=wrongwrongwrong")[0] == 401
        cookie = server.get_headers(f"/?key={key}")["set-cookie"].partition(";")[0]
        assert server.get("/v1/indexes", Cookie=cookie)[0] == 200
        assert server.get("/v1/indexes", Cookie=cookie[:-1])[0] == 401


def test_what_is_no_http_or_too_long_is_refused_as_a_problem(folder):
    with Running(folder, "--port", 0) as server:
        for sent, status, code in (
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "invalid_params"),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"a" * 200_000 + b"\r\n\r\n", 431, "headers_too_large"),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"a" * 70_000 + b"\r\n\r\n", 431, "headers_too_large"),
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
                with contextlib.suppress(ConnectionError):  # it may answer before it has read all
                    connection.sendall(sent)
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                assert answer.status == status
                assert answer.headers["content-type"] == "application/problem+json"
                assert json.load(answer)["code"] == code
        assert server.get("/livez")[0] == 200


def test_connections_that_send_nothing_are_closed_and_hold_nobody_up(folder, monkeypatch):
    with Running(folder, "--port", 0) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
        for number, each in enumerate(silent[::2]):
            each.sendall(b"GET /livez HTTP/1.1\r\nx: "[: number % 20])
        started = time.monotonic()
        assert server.get("/livez")[0] == 200
        assert time.monotonic() - started < 1
        silent[0].settimeout(20)
        assert silent[0].recv(100) == b""
        for each in silent:
            each.close()


def test_an_index_that_is_not_there_is_told_before_anything_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", str(tmp_path), "--no-open"]) == exits.NOTHING
    assert f"There is no index in {tmp_path}. → glocal index {tmp_path}" in capsys.readouterr().err
    assert main(["serve", str(tmp_path / "nowhere")]) == exits.USAGE
    assert "No such folder" in capsys.readouterr().err
    assert main(["serve"]) == exits.NOTHING
    assert "→ glocal index PHOTOS" in capsys.readouterr().err


def test_beyond_this_computer_it_wants_a_key_and_says_how_many_photos_it_would_show(folder, capsys, monkeypatch):
    monkeypatch.delenv("GLOCAL_KEY", raising=False)
    assert main(["serve", str(folder), "--host", "0.0.0.0"]) == exits.USAGE
    told = capsys.readouterr().err
    assert told.startswith("--host 0.0.0.0 exposes 3 private pictures to the network. → add --key SECRET")
    assert main(["serve", str(folder), "--host", "192.0.2.1", "--key", "short"]) == exits.USAGE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "70000"], "--port 70000 is no port"),
        (["--workers", "0"], "must be positive"),
        (["--max-upload", "nan"], "must be positive"),
        (["--allow-dir", "/no/such/folder"], "No such folder: /no/such/folder"),
        (["--runs", "/no/such/folder"], "No such folder: /no/such/folder"),
        (["--host", "203.0.113.77", "--key", "long enough"], "Cannot listen on 203.0.113.77"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(folder, capsys, words, message):
    assert main(["serve", str(folder), "--no-open", *words]) == exits.USAGE
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_without_its_packages_it_says_what_to_install(folder, capsys, monkeypatch):
    monkeypatch.setattr(glocal, "web", glocal.web)  # put back afterwards, as the modules are
    for name in [name for name in sys.modules if name.startswith("glocal.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", str(folder), "--no-open"]) == exits.RESOURCE
    assert "pip install 'glocal[serve]'" in capsys.readouterr().err


def test_the_browser_is_opened_only_where_somebody_sees_it(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not serve._has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    assert serve._has_screen()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not serve._has_screen()


def test_the_address_can_be_typed_into_a_browser():
    assert serve._url("0.0.0.0", 80, None) == "http://127.0.0.1:80/"
    assert serve._url("::1", 8080, "k") == "http://[::1]:8080/?key=k"


def test_the_local_network_gets_a_key_and_an_address_that_others_can_reach(folder, capsys, monkeypatch):
    monkeypatch.delenv("GLOCAL_KEY", raising=False)
    asked = []

    def bind(host, port):
        asked.append(host)
        return socket.create_server(("127.0.0.1", 0)), ""  # tests open no port to the network

    def serve_app(app, service, listener, started):
        started()
        listener.close()
        asked.append(service.settings)
        return signal.SIGTERM

    monkeypatch.setattr("glocal.web.ports.bind", bind)
    monkeypatch.setattr("glocal.web.ports.address_in_network", lambda: "192.168.178.20")
    monkeypatch.setattr("glocal.web.server.serve", serve_app)
    assert main(["serve", str(folder), "--lan", "--no-open"]) == exits.DONE
    host, settings = asked
    assert host == settings.host == "0.0.0.0"
    key = re.fullmatch(r"http://192\.168\.178\.20:\d+/\?key=(\S+)\n", capsys.readouterr().out)[1]
    assert key == settings.key
    assert len(key) >= 32
    monkeypatch.setenv("GLOCAL_KEY", "a key of somebody's own")
    assert main(["serve", str(folder), "--lan", "--no-open"]) == exits.DONE
    assert asked[-1].key == "a key of somebody's own"
    assert "somebody" not in capsys.readouterr().out


def test_the_qr_code_of_an_address_can_be_read():
    address = "http://192.168.178.20:8080/?key=k3Yk3Yk3Yk3Yk3Yk3Yk3Yk3Yk3Yk3Yk3"
    halves = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    lines = re.sub(r"\x1b\[[0-9;]*m", "", qr_code.drawn(address)).splitlines()
    rows = [[halves[each][half] for each in line] for line in lines for half in (0, 1)]
    picture = np.kron(1 - np.array(rows, np.uint8), np.full((8, 8), 255, np.uint8))
    assert address in {cv2.QRCodeDetector().detectAndDecode(each)[0] for each in (picture, 255 - picture)}


def test_the_address_in_the_network_is_one_of_this_computer():
    with socket.socket() as mine:
        mine.bind((ports.address_in_network(), 0))  # refused for any other


def test_without_an_index_the_nearest_one_is_served(folder):
    with Running("--port", 0, cwd=folder) as server:
        assert json.loads(server.get("/v1/indexes")[1])["indexes"][0]["id"] == "photos"


def test_health_answers_while_searches_wait(folder):
    with Running(folder, "--port", 0, "--workers", 1, "--queue", 2) as server:
        server.ready()
        photo = (folder / "1.jpg").read_bytes()
        body = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + photo + b"\r\n--x--\r\n"
        seen = []

        def ask():
            request = urllib.request.Request(
                f"{server.url}v1/search", body, {"Content-Type": "multipart/form-data; boundary=x"}
            )
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    seen.append(answer.status)
            except urllib.error.HTTPError as error:
                seen.append(error.code if "Retry-After" in error.headers else 500)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        assert server.get("/livez")[0] == 200
        assert time.monotonic() - started < 1
        for thread in threads:
            thread.join()
        assert set(seen) == {200, 503}
        assert seen.count(200) >= 3
