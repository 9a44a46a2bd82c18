"""A class in one network: the address that others type, and a QR code of it, in the terminal of `--host 0.0.0.0`."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from core.errors import terminal_language
from core.runtime import on_space
from demos.kit.language import Text
from demos.kit.network import EVERYWHERE, own_address

OPEN_IT = Text("Others in this network open", "同一网络中的其他人可打开")
WEBCAM = Text(
    "The webcam works on this computer (http://localhost:{port}); on others browsers ask for https, "
    "for example behind a reverse proxy or with --share.",
    "摄像头只能在本机（http://localhost:{port}）使用；其他设备的浏览器要求 https，例如通过反向代理或 --share。",
)
ALONE = Text(
    "This computer is in no network, so nobody else can open the page.",
    "这台电脑没有连接网络，其他人无法打开页面。",
)


def qr_code(text: str) -> str:
    """A QR code of half blocks for a terminal, two modules in the height of a character."""
    import segno

    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(out=drawn, border=2, compact=True)
    return drawn.getvalue()


def announcement(address: str | None, port: int, lang: str) -> str:
    """What the terminal says to the teacher."""
    if address is None:
        return ALONE.get(lang)
    url = f"http://{address}:{port}"
    return f"\n{OPEN_IT.get(lang)}  {url}\n\n{qr_code(url)}\n{WEBCAM.get(lang).format(port=port)}\n"


def announce(host: str, port: int, out: TextIO | None = None) -> None:
    """Prints the address and its code when the server listens to the network; on a Space it says nothing."""
    if host not in EVERYWHERE or on_space():
        return
    out = out or sys.stdout
    text = announcement(own_address(), port, terminal_language())
    # A terminal without block characters gets the address at least.
    encoding = getattr(out, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=out, flush=True)
