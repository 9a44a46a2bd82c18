"""CLIP Atlas: `python app.py [--host --port --share --default hub|classroom]`.

Builds the pages of `demos.catalog` into one Gradio app, `demo`, and serves it. torch is not imported here: it is
loaded in the background once a browser has its first page.
"""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import tempfile

# Read by Gradio and the Hub client when they are imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if "GRADIO_TEMP_DIR" not in os.environ:
    os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="clip-atlas-")
    atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)

from demos import site

demo = site.build()


def main() -> None:
    """Reads the command line and serves until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME"))
    parser.add_argument("--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's tunnel")
    parser.add_argument("--default", choices=("hub", "classroom"), help="what pages start on")
    arguments = parser.parse_args()
    if arguments.default:
        os.environ["CLIP_ATLAS_DEFAULT"] = arguments.default
    host = arguments.host or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
    demo.launch(server_name=host, server_port=arguments.port, share=arguments.share, **site.launch_options())


if __name__ == "__main__":
    main()
