"""What every program of this repository owes its shell: a sentence and a status for each failure, and no traceback.

sys.exit(terminal.run(main))
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from core.errors import Refusal, terminal_language

if TYPE_CHECKING:
    from core.clip.labels import Notes

INTERRUPTED = 130  # as shells count a program that Ctrl-C ended
OWN_PACKAGES = ("core", "demos", "benchmarks")


class Door:
    """Around a whole program: `with Door() as door: ...`, then `sys.exit(door.status)`.

    A refusal, Ctrl-C or a package that is not installed is one sentence on standard error, in the language of the shell.
    A reader that closes its end of a pipe, `head` for one, has what it wanted: that is no failure.
    """

    def __init__(self) -> None:
        self.status = 0

    def __enter__(self) -> Door:
        make_printable()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        try:
            known = error is None or self._answer(error)
            # Also in front of SystemExit: a closed pipe is noticed here, not at the end of the interpreter.
            if sys.stdout:
                sys.stdout.flush()
        except BrokenPipeError:
            known = self._answer(BrokenPipeError())
        return known

    def _answer(self, error: BaseException) -> bool:
        """Sets the status that goes with an error and prints its sentence; False for a fault of the program itself."""
        match error:
            case Refusal():
                say(error)
                self.status = 1
            case KeyboardInterrupt():
                say(Refusal("cancelled"))
                self.status = INTERRUPTED
            case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] not in OWN_PACKAGES:
                say(Refusal("no_package", package=name.partition(".")[0]))
                self.status = 1
            case BrokenPipeError():
                for stream in (sys.stdout, sys.stderr):
                    if stream:  # nothing may be written to it at the end of the interpreter
                        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                self.status = 0
            case _:
                return False
        return True


def run(program: Callable[[], int | None]) -> int:
    """Runs a program behind the door and returns its exit status: 0, 1 for a refusal, 130 for Ctrl-C."""
    with Door() as door:
        door.status = program() or 0
    return door.status


def say(refusal: Refusal) -> None:
    """Prints a refusal on standard error, in the language of the shell."""
    if sys.stderr:
        print(refusal.text(terminal_language()), file=sys.stderr)


def progress(line: str, in_log: bool = False) -> None:
    """Shows a line on standard error in place of the last one; in a log only where `in_log` says so."""
    if sys.stderr.isatty():
        print(f"\r{line:60}\r{line}", end="", file=sys.stderr, flush=True)
    elif in_log:
        print(line, file=sys.stderr, flush=True)


def tell(notes: Notes) -> None:
    """Says on standard error which labels were merged or cut."""
    for sentence in notes.sentences(terminal_language()):
        print(sentence, file=sys.stderr)


def make_printable() -> None:
    """Lets standard output and error take every character: what their encoding lacks is written as JSON escapes it."""
    codecs.register_error("json_escapes", escape)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="json_escapes")


def escape(error: UnicodeError) -> tuple[str, int]:
    r"""An error handler of codecs: characters as `\uXXXX`, in pairs beyond the first 65,536, so that JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2)), error.end
