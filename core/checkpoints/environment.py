"""Environment of the Hub client, set before anything imports it: it reads most of these once, at import."""

from __future__ import annotations

import os

from core import proxies

DEFAULT_ENDPOINT = "https://huggingface.co"


def prepare() -> None:
    """Sets what makes the Hub client and transformers quiet and predictable; what the user set wins.

    `HF_HUB_OFFLINE`, `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE` and `HF_TOKEN` are the user's and only read.
    """
    proxies.settle()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # It warns of copies where a disk has no links; `core.checkpoints.hub` makes none.
    os.environ.setdefault("HF_HUB_DISABLE_SYMLINKS_WARNING", "1")
    # transformers asks a conversion bot in a background thread about every .bin file otherwise.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    if os.environ.get("HF_ENDPOINT", DEFAULT_ENDPOINT).rstrip("/") != DEFAULT_ENDPOINT:
        # A mirror speaks HTTP; the Xet protocol would fetch the bytes from the original host.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
