"""The start of the server: the environment, the command line, the address, and a sentence for whatever prevents it."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from core import memory, proxies
from core.errors import Refusal, terminal_language
from core.terminal import Door
from demos.app import address

__all__ = ["Door", "collect_garbage", "options", "prepare", "serve"]

if TYPE_CHECKING:
    import gradio as gr


# Set by Ctrl-C or a stop of the container.
STOPPED = threading.Event()


def prepare() -> None:
    """Sets what Gradio and the Hub client read when they are imported, and how threads share memory.

    Raises:
        Refusal: "temp_unwritable" where there is no place for temporary files.
    """
    memory.prepare_server()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    parent = os.environ.get("GRADIO_TEMP_DIR")
    try:
        if parent:
            os.makedirs(parent, exist_ok=True)
        # A folder of this process alone, since whatever lies in it is removed.
        folder = tempfile.mkdtemp(prefix="clip-atlas-", dir=parent)
    except OSError as error:
        place = parent or os.environ.get("TMPDIR") or "/tmp"
        raise Refusal("temp_unwritable", folder=place, reason=str(error.strerror or error)) from error
    os.environ["GRADIO_TEMP_DIR"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _stop(*_: object) -> None:
    STOPPED.set()
    raise KeyboardInterrupt


def _go_on() -> None:
    """Ends the start that was stopped while a library caught the interruption as if it were its own."""
    if STOPPED.is_set():
        raise KeyboardInterrupt


def options() -> argparse.Namespace:
    """Options of `python app.py`; where to listen also comes from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.

    Raises:
        Refusal: where the server could not listen.
    """
    # A stop of the container ends like Ctrl-C, so that the temporary folder goes too.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _stop)
    host = "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"
    parser = argparse.ArgumentParser(prog="app.py", description="Serves CLIP Atlas.")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME") or host)
    parser.add_argument("--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT") or "7860")
    parser.add_argument(
        "--share", action="store_true", help="also serve at a public address through Gradio's tunnel"
    )
    parser.add_argument("--default", choices=("hub", "classroom"), help="the checkpoints that pages start on")
    chosen = parser.parse_args()
    if chosen.default:
        os.environ["CLIP_ATLAS_DEFAULT"] = chosen.default
    chosen.port = address.check(chosen.host, chosen.port)
    for refusal in proxies.settle(chosen.host):
        print(refusal.text(terminal_language()), file=sys.stderr)
    return chosen


def serve(demo: gr.Blocks, chosen: argparse.Namespace) -> None:
    """Serves the pages until Ctrl-C.

    Raises:
        Refusal: where the address went to another program in the meantime, or the server does not answer.
    """
    from demos.app import lan, site

    _go_on()
    try:
        demo.launch(
            server_name=chosen.host,
            server_port=chosen.port,
            share=chosen.share,
            prevent_thread_lock=True,
            **site.launch_options(),
        )
    except (OSError, ValueError) as error:
        address.check(chosen.host, chosen.port)
        reason = str(error).partition("\n")[0]
        raise Refusal("server_silent", host=chosen.host, port=chosen.port, reason=reason) from error
    _go_on()
    collect_garbage()
    threading.Thread(target=memory.watch, args=(STOPPED,), name="memory", daemon=True).start()
    lan.announce(chosen.host, chosen.port)
    demo.block_thread()


def collect_garbage() -> None:
    """Begins to look for garbage, among what is made from now on; what start-up made stays."""
    gc.freeze()
    gc.enable()
