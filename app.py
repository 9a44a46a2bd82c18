"""CLIP Atlas: `python app.py [--host --port --share --default hub|classroom]`.

Builds the pages of `demos.catalog` into one Gradio app, `demo`, and serves it. torch is not imported here: it is
loaded in the background once a browser has its first page.
"""

from __future__ import annotations

import gc
import os
import sys

# Almost nothing that start-up makes is garbage; looking for some would take a seventh of its time.
gc.disable()
if os.environ.get("SPACES_ZERO_GPU"):
    # It patches torch, so it comes before torch.
    import spaces  # noqa: F401

from demos.app import start

with start.Door() as door:
    start.prepare()
    # Before the pages are built, because their menus start on the default checkpoint.
    chosen = start.options() if __name__ == "__main__" else None

    from demos.app import site

    demo = site.build()
    if chosen:
        start.serve(demo, chosen)

if __name__ == "__main__":
    sys.exit(door.status)
start.collect_garbage()
