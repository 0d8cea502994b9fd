"""Search in the browser and over HTTP: the page, the interface under /v1, the Lab.

Prints one address and opens it. Only this computer can reach it, unless --host and --key say otherwise. What is asked
is never written to disk. Ctrl-C ends it: what was begun is answered first.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal.cli import exits
from glocal.cli.places import TOKEN_VARIABLE, find_index
from glocal.errors import BackendUnavailable, ConfigError, RetrievalError, StoreError
from glocal.progress import thousands
from glocal.store.milvus_place import is_milvus_url
from glocal.store.open import Place, open_collection, place_of

if TYPE_CHECKING:
    from glocal.web.settings import Settings

KEY_VARIABLE = "GLOCAL_KEY"
"""Environment variable with the key: whoever lists processes sees what is on a command line."""
NEW_KEY = "new"
EVERYWHERE = "0.0.0.0"
_MIB = 1 << 20
_LIMITS = (
    ("workers", "num_searchers", None),
    ("queue", "queue_length", None),
    ("max_topk", "max_topk", None),
    ("timeout", "request_deadline_s", None),
    ("max_upload", "max_body_bytes", _MIB),
    ("max_megapixels", "max_pixels", 1_000_000),
)
"""Option, field of the settings, and the unit of the option in units of the field."""
_INSTALL = "glocal serve needs fastapi, uvicorn and a few other packages → pip install 'glocal[serve]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add = parser.add_argument
    add(
        "indexes",
        nargs="*",
        metavar="INDEX",
        help="indexes, their folders of photos, or milvus://HOST:PORT/NAME (default: the nearest .glocal, or the last "
        "made)",
    )
    add("--port", type=int, default=8080, metavar="N", help="TCP port, or the next free one (default: %(default)s)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: %(default)s)")
    add(
        "--key",
        metavar="SECRET|new",
        help=f"every request must carry it; new: make one up (default: ${KEY_VARIABLE}, or none on this computer)",
    )
    add(
        "--lan",
        action="store_true",
        help="let phones and computers of the local network in: --host 0.0.0.0, a key (--key new unless there is one), "
        "and the address as a QR code",
    )
    add("--no-open", action="store_true", help="do not open the browser")
    add("--runs", action="append", default=[], metavar="DIR", help="evaluation runs for the Lab; may be repeated")
    add(
        "--data",
        metavar="DIR",
        help="where indexes are kept that are made over HTTP, with the photos sent to them (default: none can be made)",
    )
    add(
        "--allow-dir",
        action="append",
        default=[],
        metavar="DIR",
        help='photos of this folder may be added by {"paths": [...]}; may be repeated',
    )
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach this service, say behind a proxy; may be repeated",
    )
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="another web page that may ask, such as https://example.org; may be repeated",
    )
    add("--workers", type=int, metavar="N", help="searches at the same time (default: the cores, at most 8)")
    add("--queue", type=int, metavar="N", help="searches that wait before one more is refused (default: 32)")
    add("--max-upload", type=float, metavar="MiB", help="largest request (default: 32)")
    add("--max-megapixels", type=float, metavar="MP", help="largest picture (default: 89)")
    add("--max-topk", type=int, metavar="K", help="most hits of one search (default: 1000)")
    add("--timeout", type=float, metavar="S", help="a request is given up after this time (default: 60)")
    add("-v", "--verbose", action="store_true", help="tell on stderr what happens")


def run(options: argparse.Namespace) -> int:
    """Serve until a signal comes; returns the exit code: 0 after SIGTERM, 130 after Ctrl-C."""
    places = _places(options)
    if options.lan:
        options.host = EVERYWHERE
        options.key = options.key or (None if os.environ.get(KEY_VARIABLE) else NEW_KEY)
    key = _key(options.key)
    _check_exposure(options.host, key, places)
    try:
        from glocal.web import log, ports, qr_code  # noqa: PLC0415 - optional packages
        from glocal.web.api import create_app  # noqa: PLC0415
        from glocal.web.library import Library  # noqa: PLC0415
        from glocal.web.server import serve  # noqa: PLC0415
    except ImportError as error:
        if (error.name or "").startswith("glocal"):
            raise
        raise BackendUnavailable(_INSTALL) from error
    settings = _settings(options, key)
    listener, about_port = ports.bind(settings.host, settings.port)
    if about_port:
        print(about_port, file=sys.stderr, flush=True)
    log.set_up(options.verbose)
    app = create_app(Library(places, settings), settings)
    port = listener.getsockname()[1]

    def started() -> None:
        host = ports.address_in_network() if options.lan else settings.host
        shown = _url(host, port, key if _may_show(options.key) else None)
        print(shown, flush=True)
        if options.lan and sys.stdout.isatty():
            print(qr_code.drawn(shown), flush=True)
        if not options.no_open and _has_screen():
            address = _url(settings.host, port, key)
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    received = serve(app, app.state.service, listener, started)
    return exits.INTERRUPTED if received == signal.SIGINT else exits.DONE


def _places(options: argparse.Namespace) -> list[Place]:
    token = os.environ.get(TOKEN_VARIABLE, "")
    if options.indexes:
        return [place_of(each, token) if is_milvus_url(each) else find_index(each) for each in options.indexes]
    try:
        return [find_index(None, Path.cwd())]
    except StoreError:
        if options.data:
            return []  # indexes are made over HTTP
        raise


def _key(given: str | None) -> str | None:
    # No child process needs it, least of all those that decode what strangers send.
    kept = os.environ.pop(KEY_VARIABLE, None)
    return secrets.token_urlsafe(24) if given == NEW_KEY else given or kept or None


def _may_show(given: str | None) -> bool:
    """Whether the address may carry the key: not into a log, unless nobody could know it otherwise."""
    return given == NEW_KEY or sys.stdout.isatty()


def _check_exposure(host: str, key: str | None, places: list[Place]) -> None:
    if key is not None or _is_loopback(host):
        return
    count = 0
    for place in places:
        try:
            with open_collection(place) as collection:
                count += collection.counts()["indexed"]
        except RetrievalError:
            continue  # the number is for the message alone
    raise ConfigError(
        f"--host {host} exposes {thousands(count)} private pictures to the network. "
        f"→ add --key SECRET (or --key {NEW_KEY}, or ${KEY_VARIABLE}), or leave --host away"
    )


def _is_loopback(host: str) -> bool:
    import ipaddress  # noqa: PLC0415 - instant help

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _settings(options: argparse.Namespace, key: str | None) -> Settings:
    from glocal.web.settings import Settings  # noqa: PLC0415 - an optional package

    for folder in [*options.runs, *options.allow_dir]:
        if not Path(folder).is_dir():
            raise ConfigError(f"No such folder: {folder}")
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port {options.port} is no port: 0 to 65535")
    given: dict[str, Any] = {}
    for name, field, unit in _LIMITS:
        value = getattr(options, name)
        if value is None:
            continue
        number = value if unit is None else value * unit
        if not 1e-3 <= number < 1e12:
            raise ConfigError(f"--{name.replace('_', '-')} {value} must be positive, and not beyond all measure")
        given[field] = number if unit is None else int(number)
    return Settings(
        host=options.host,
        port=options.port,
        key=key,
        allowed_hosts=tuple(options.allow_host),
        origins=tuple(options.allow_origin),
        allow_dirs=tuple(Path(folder).resolve() for folder in options.allow_dir),
        data_dir=None if options.data is None else Path(options.data).resolve(),
        runs=tuple(Path(folder) for folder in options.runs),
        **given,
    )


def _url(host: str, port: int, key: str | None) -> str:
    shown = "127.0.0.1" if host in (EVERYWHERE, "::") else host
    name = f"[{shown}]" if ":" in shown else shown
    return f"http://{name}:{port}/" + (f"?key={key}" if key else "")


def _has_screen() -> bool:
    """Whether a browser would open where somebody sees it: not over ssh, not in a service, not in text mode."""
    if sys.platform == "darwin":
        return sys.stdout.isatty()
    return sys.stdout.isatty() and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
