"""Proxies that the environment names, as desktops and companies set them.

Addresses of this machine are never asked for through a proxy. A proxy that the HTTP clients cannot use (SOCKS without
its package, a broken address) ends every client with a traceback, even one that asks this machine alone: it is taken
out of the environment, and `check` says why in one sentence before anything is asked for through it.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.request
from importlib.util import find_spec
from urllib.parse import urlsplit

from core.errors import Refusal

LOCAL = ("localhost", "127.0.0.1", "::1")
SCHEMES = ("http", "https", "all")
SOCKS = ("socks5", "socks5h")
GENERIC = "socks://"  # as desktops write it; the clients know SOCKS 5

_unusable: dict[str, Refusal] = {}  # scheme of the addresses that the proxy is for -> why it is not used


def settle(*hosts: str) -> list[Refusal]:
    """Makes the environment one that every HTTP client starts with; returns why proxies were taken out of it.

    Args:
        hosts: further names or addresses of this machine.
    """
    if not urllib.request.getproxies_environment():
        # The clients read the settings of the system only while the environment has none.
        system = urllib.request.getproxies()
        os.environ.update({f"{scheme}_proxy": system[scheme] for scheme in SCHEMES if scheme in system})
    proxies = urllib.request.getproxies()
    refused: dict[str, Refusal] = {}
    for variable in [
        name for name in os.environ if name.lower() in [f"{scheme}_proxy" for scheme in SCHEMES]
    ]:
        value = os.environ[variable].strip()
        if value.lower().startswith(GENERIC):
            value = SOCKS[0] + value[len("socks") :]
        if refusal := judge(variable, value):
            del os.environ[variable]
            refused[variable.lower().removesuffix("_proxy")] = refusal
        else:
            os.environ[variable] = value
    if any(scheme in proxies for scheme in SCHEMES):
        exceptions = [entry for part in proxies.get("no", "").split(",") if (entry := exception(part))]
        bare = [host.strip("[]") for host in hosts]
        value = ",".join(dict.fromkeys([*exceptions, *LOCAL, *bare]))
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = value
    _unusable.update(refused)
    return list(refused.values())


def judge(variable: str, value: str) -> Refusal | None:
    """Why a proxy cannot be used; None where it can, or where the variable is empty."""
    if not value:
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    # Without user and password, which do not belong into a terminal or a page.
    shown = f"{scheme}://{host}{f':{port}' if port else ''}" if host else variable
    if scheme in SOCKS and host:
        missing = find_spec("socksio") is None
        return Refusal("proxy_socks", variable=variable, proxy=shown) if missing else None
    usable = scheme in ("http", "https") and host and " " not in host
    return None if usable else Refusal("proxy_unknown", variable=variable, proxy=shown)


def exception(entry: str) -> str | None:
    """An entry of NO_PROXY as every HTTP client reads it; None for a network of IPv6, which some of them fail at."""
    entry = entry.strip()
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    if ":" in entry and "/" in entry:
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return entry
        return None
    return entry or None


def check(url: str) -> None:
    """Refuses a request whose proxy was taken out of the environment.

    Raises:
        Refusal: "proxy_socks" or "proxy_unknown".
    """
    address = urlsplit(url)
    proxies = urllib.request.getproxies()
    if address.scheme in proxies or urllib.request.proxy_bypass(address.hostname or ""):
        return
    refusal = _unusable.get(address.scheme) or (None if "all" in proxies else _unusable.get("all"))
    if refusal:
        raise refusal
