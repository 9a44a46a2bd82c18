"""Proxies of the environment: this machine is asked without them; one that no client can use is said in a sentence."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator

import httpx
import httpx2
import pytest

from core import proxies
from core.errors import Refusal

HUB = "https://hub.example"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without proxies before, and as it was after."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(proxies, "_unusable", {})
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def direct(url: str) -> bool:
    """Whether both HTTP clients ask for an address without a proxy."""
    return all(
        client.Client(verify=False)._transport_for_url(client.URL(url)) is client.Client
        or "Proxy" not in type(client.Client(verify=False)._transport_for_url(client.URL(url))._pool).__name__
        for client in (httpx, httpx2)
    )


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "Http_Proxy"])
@pytest.mark.parametrize("exceptions", [None, "corp.example", "[::1]", "fd00::/8,.corp", " , ", "10.0.0.0/8"])
def test_this_machine_is_asked_without_a_proxy(variable: str, exceptions: str | None) -> None:
    os.environ[variable] = "http://proxy.example:8080"
    if exceptions is not None:
        os.environ["NO_PROXY"] = exceptions
    assert proxies.settle("192.168.1.7", "[::1]") == []
    for host in ("127.0.0.1", "localhost", "[::1]", "192.168.1.7"):
        assert direct(f"http://{host}:7860/")
    assert not direct("http://hub.example/")
    proxies.check(HUB)


def test_a_star_keeps_its_meaning() -> None:
    os.environ |= {"HTTPS_PROXY": "http://proxy.example:8080", "NO_PROXY": "*"}
    proxies.settle()
    assert direct(HUB)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("socks5://127.0.0.1:9", "proxy_socks"),
        ("socks5h://name:secret@127.0.0.1:9", "proxy_socks"),
        ("socks://127.0.0.1:9/", "proxy_socks"),
        ("SOCKS5://127.0.0.1:9", "proxy_socks"),
        ("socks4://127.0.0.1:9", "proxy_unknown"),
        ("ftp://127.0.0.1:9", "proxy_unknown"),
        ("http://proxy.example:port", "proxy_unknown"),
        ("http://proxy.example:99999", "proxy_unknown"),
        ("http://[::1", "proxy_unknown"),
        ("http://", "proxy_unknown"),
        ("the proxy", "proxy_unknown"),
    ],
)
@pytest.mark.parametrize("variable", ["ALL_PROXY", "https_proxy"])
def test_a_proxy_that_no_client_can_use_is_taken_out_and_said(
    value: str, code: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda name: None)
    os.environ[variable] = value
    (refusal,) = proxies.settle()
    assert refusal.code == code and variable in str(refusal) and "secret" not in str(refusal)
    assert variable not in os.environ
    for client in (httpx, httpx2):
        client.Client(verify=False).close()
    with pytest.raises(Refusal, match=variable):
        proxies.check(HUB)
    assert proxies.settle() == []  # a second look forgets nothing
    with pytest.raises(Refusal, match=variable):
        proxies.check(HUB)


def test_socks_is_used_where_its_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda name: object())
    os.environ["ALL_PROXY"] = "socks://127.0.0.1:9/"
    assert proxies.settle() == [] and os.environ["ALL_PROXY"] == "socks5://127.0.0.1:9/"
    proxies.check(HUB)


def test_another_proxy_or_an_exception_does_in_place_of_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proxies, "find_spec", lambda name: None)
    os.environ |= {"ALL_PROXY": "socks5://h:9", "https_proxy": "http://proxy.example:8080"}
    assert [refusal.code for refusal in proxies.settle()] == ["proxy_socks"]
    proxies.check(HUB)
    with pytest.raises(Refusal):
        proxies.check("http://hub.example")
    os.environ["no_proxy"] += ",hub.example"
    proxies.check("http://hub.example")
    proxies.check("http://127.0.0.1:8000")


def test_empty_variables_mean_no_proxy() -> None:
    os.environ |= {"HTTP_PROXY": "", "all_proxy": "  "}
    assert proxies.settle() == [] and direct(HUB)


def test_settings_of_the_system_count_where_the_environment_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    system = {"http": "http://proxy.example:8080"}
    monkeypatch.setattr(
        urllib.request, "getproxies", lambda: urllib.request.getproxies_environment() or system
    )
    proxies.settle()
    assert direct("http://127.0.0.1:7860") and not direct("http://hub.example")
