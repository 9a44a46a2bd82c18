"""Where the server listens: checked in a moment before the pages are built, so that each failure has its sentence."""

from __future__ import annotations

import errno
import os
import socket

from core.errors import Refusal

LOOPBACK = "127.0.0.1"


def check(host: str, port: int) -> int:
    """The port that a server at this host can have; for port 0, a free one.

    Raises:
        Refusal: "bad_port", "port_taken", "port_forbidden", "host_unknown", "host_elsewhere".
    """
    if not 0 <= port <= 65535:
        raise Refusal("bad_port", port=port)
    name = host.strip("[]")
    try:
        kind, _, _, _, place = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise Refusal("host_unknown", host=host) from None
    try:
        found = _bind(kind, place)
        # Gradio wants the port on the loopback address too, whatever the host.
        return _bind(socket.AF_INET, (LOOPBACK, found))
    except PermissionError:
        raise Refusal("port_forbidden", port=port, free=_bind(socket.AF_INET, (LOOPBACK, 0))) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = _bind(socket.AF_INET, (LOOPBACK, 0))
            raise Refusal("port_taken", port=port, free=free) from None
        raise Refusal("host_elsewhere", host=host, reason=str(error.strerror or error)) from None


def _bind(kind: int, place: tuple[object, ...]) -> int:
    """Takes an address for a moment, as the server will; returns its port."""
    with socket.socket(kind) as probe:
        if os.name == "posix":  # elsewhere the option lets two servers share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        return int(probe.getsockname()[1])
