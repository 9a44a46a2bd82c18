"""A stand-in for the `spaces` package in ZeroGPU mode: every call in a forked worker, what passes is pickled.

As the real one: locks and flags stay behind in the parent, an exception arrives as the name of its class, and a
generator that is closed ends its worker. Every call is written to the file that FAKE_SPACES_LOG names.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

_fork = multiprocessing.get_context("fork")


def _note(task: Callable[..., Any], kind: str) -> None:
    if path := os.environ.get("FAKE_SPACES_LOG"):
        with open(path, "a") as log:
            log.write(f"{kind} {task.__module__}.{task.__qualname__} {os.getppid()} {os.getpid()}\n")


def _work(task: Callable[..., Any], data: bytes, pipe: Any) -> None:
    """The worker: runs the task and sends what it gives, item by item."""
    # The app ends at a signal by an exception; a worker that took that over would print one as it ends.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    args, kwargs = pickle.loads(data)
    try:
        if inspect.isgeneratorfunction(task):
            _note(task, "steps")
            for item in task(*args, **kwargs):
                pipe.send_bytes(pickle.dumps(("item", item)))
            pipe.send_bytes(pickle.dumps(("end", None)))
        else:
            _note(task, "call")
            pipe.send_bytes(pickle.dumps(("end", task(*args, **kwargs))))
    except Exception as error:
        pipe.send_bytes(pickle.dumps(("error", type(error).__name__)))
    finally:
        # Without the parent's exit handlers, which would remove its folders.
        pipe.close()
        os._exit(0)


def _messages(task: Callable[..., Any], args: Any, kwargs: Any) -> Iterator[tuple[str, Any]]:
    here, there = _fork.Pipe(duplex=False)
    worker = _fork.Process(target=_work, args=(task, pickle.dumps((args, kwargs)), there), daemon=True)
    worker.start()
    there.close()
    try:
        while True:
            kind, value = pickle.loads(here.recv_bytes())
            if kind == "error":
                raise RuntimeError(f"GPU task failed: {value}")
            yield kind, value
            if kind == "end":
                return
    finally:
        worker.terminate()
        worker.join()
        here.close()


def GPU(task: Callable[..., Any]) -> Callable[..., Any]:
    """The decorator."""
    if inspect.isgeneratorfunction(task):

        @wraps(task)
        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            for kind, value in _messages(task, args, kwargs):
                if kind == "item":
                    yield value

        return steps

    @wraps(task)
    def call(*args: Any, **kwargs: Any) -> Any:
        return next(value for kind, value in _messages(task, args, kwargs) if kind == "end")

    return call


def gradio_auto_wrap(handler: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """What Gradio asks for every handler of a ZeroGPU Space; here nothing besides `GPU` is wrapped."""
    return handler
