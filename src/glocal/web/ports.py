"""A free port, who has the one that is not, and the address that others see (sockets, /proc)."""

from __future__ import annotations

import errno
import os
import re
import socket
from pathlib import Path

from glocal.errors import ConfigError

TRIES = 50
_LISTENING = "0A"


def bind(host: str, port: int) -> tuple[socket.socket, str]:
    """Take a port of this computer, or the next one that is free.

    Args:
        host: address or name.
        port: 0 takes any.

    Returns:
        The listening socket, and a line about the port if it is another one; else "".

    Raises:
        ConfigError: no port is free, it takes more rights, or the address is not one of this computer.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"--host {host} is no address of this computer. → --host 127.0.0.1") from error
    last = min(port + TRIES, 65536) if port else 1
    for number in range(port, last):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], number, *address[2:]))
            listener.listen(1024)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                continue
            why = (error.strerror or "cannot listen").lower()
            raise ConfigError(
                f"Cannot listen on {host} port {number}: {why}. → --host 127.0.0.1 --port 8080"
            ) from error
        other = number != port and port != 0
        return listener, f"Port {port} is used by {user_of(port)}. Using {number}." if other else ""
    raise ConfigError(f"No port is free between {port} and {last - 1}. → --port 0 takes any")


def address_in_network() -> str:
    """The address by which others of the local network reach this computer; 127.0.0.1 where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 9))  # sends nothing: the system says which of its addresses it would use
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def user_of(port: int) -> str:
    """Who listens on a TCP port: "python3 (pid 771)"; "another program" where that cannot be seen."""
    sockets = _listeners(port)
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda each: int(each.name)) if sockets else ():
        try:
            links = [os.readlink(each) for each in (process / "fd").iterdir()]
            name = (process / "comm").read_text(errors="replace").strip()
        except OSError:
            continue  # it belongs to somebody else, or has ended
        if sockets & set(links):
            return f"{re.sub(r'[^ -~]', '?', name)} (pid {process.name})"
    return "another program"


def _listeners(port: int) -> set[str]:
    """How the listening sockets of a port are named among open files."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found
