"""Who sends a request and how often, and this machine's own address in its network."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from core.runtime import on_space

Scope = MutableMapping[str, Any]
# Hosts that a server listens to when all addresses of the machine are meant.
EVERYWHERE = ("0.0.0.0", "::")
# An address of no one (RFC 5737): asked for the way there, the system names the interface; nothing is sent.
SOMEWHERE = ("192.0.2.1", 9)
# Requests that change something, from one address: so many a second, so many at once.
RATE, BURST = 60.0, 600.0
ADDRESSES = 10_000  # remembered at a time


def own_address() -> str | None:
    """This machine's address in its network; None where it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(SOMEWHERE)
            found = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if ipaddress.ip_address(found).is_loopback else found


class Flow:
    """How many requests each address may send: a bucket of `burst` that fills by `rate` a second."""

    def __init__(self, rate: float = RATE, burst: float = BURST) -> None:
        self.rate = rate
        self.burst = burst
        self._level: dict[str, tuple[float, float]] = {}  # address -> (requests left, at what time)

    def wait(self, address: str, takes: bool = True) -> float:
        """Seconds until this address may send again; 0 takes one request off its bucket, unless `takes` is False."""
        now = time.monotonic()
        left, at = self._level.get(address, (self.burst, now))
        left = min(self.burst, left + self.rate * (now - at))
        if left < 1:
            return (1 - left) / self.rate
        if not takes:
            return 0.0
        self._level[address] = (left - 1, now)
        if len(self._level) > ADDRESSES:
            # Whoever has been away long enough for a full bucket needs none.
            full = now - self.burst / self.rate
            self._level = {who: level for who, level in self._level.items() if level[1] > full}
        return 0.0


def sender(scope: Scope) -> str | None:
    """The address that a request is counted for; None for this machine itself, its user or a proxy in front."""
    host = (scope.get("client") or ("",))[0]
    if on_space():
        # The Space's own proxy adds the last entry, a visitor may have made up the others.
        forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")
        host = forwarded.rpartition(",")[2].strip() or host
    return None if host in ("", "127.0.0.1", "::1") else host
