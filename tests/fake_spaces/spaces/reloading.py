"""What Gradio starts on every Space: a watcher of edited files. Here nobody edits."""

from __future__ import annotations

import threading
from typing import Any


def start_reload_server(*, prerun: Any, postrun: Any, stop_event: threading.Event) -> None:
    """Waits for the end of the server."""
    stop_event.wait()
