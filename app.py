"""CLIP Atlas: `python app.py [--host --port --share --default hub|classroom]`.

Builds the pages of `demos.catalog` into one Gradio app, `demo`, and serves it. torch is not imported here: it is
loaded in the background once a browser has its first page.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import shutil
import signal
import tempfile

# Almost nothing that start-up makes is garbage; looking for some would take a seventh of its time.
gc.disable()
# Read by Gradio and the Hub client when they are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# A folder of this process alone, since whatever lies in it is removed.
os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="clip-atlas-", dir=os.environ.get("GRADIO_TEMP_DIR"))
atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)
if os.environ.get("SPACES_ZERO_GPU"):
    # It patches torch, so it comes before torch.
    import spaces  # noqa: F401


def command_line() -> argparse.Namespace:
    """Options of `python app.py`; where to listen also comes from GRADIO_SERVER_NAME and GRADIO_SERVER_PORT."""
    host = "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"
    parser = argparse.ArgumentParser(prog="app.py", description="Serves CLIP Atlas.")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME") or host)
    parser.add_argument("--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT") or 7860))
    parser.add_argument(
        "--share", action="store_true", help="also serve at a public address through Gradio's tunnel"
    )
    parser.add_argument("--default", choices=("hub", "classroom"), help="the checkpoints that pages start on")
    arguments = parser.parse_args()
    if arguments.default:
        os.environ["CLIP_ATLAS_DEFAULT"] = arguments.default
    return arguments


# Before the pages are built, because their menus start on the default checkpoint.
arguments = command_line() if __name__ == "__main__" else None

from demos.app import lan, site

demo = site.build()

if arguments:
    # A stop of the container ends like Ctrl-C, so that the temporary folder goes too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    demo.launch(
        server_name=arguments.host,
        server_port=arguments.port,
        share=arguments.share,
        prevent_thread_lock=True,
        **site.launch_options(),
    )

gc.freeze()  # what is there now stays
gc.enable()

if arguments:
    lan.announce(arguments.host, arguments.port)
    demo.block_thread()
