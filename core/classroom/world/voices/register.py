"""What a voice is, and the table that a module of voices fills."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from core.classroom.world.synthesis import Draw

Voice = Callable[[Draw], Tensor]


class Voices(dict[str, Voice]):
    """Generators of sounds by the code point of what sounds."""

    def add(self, code: str) -> Callable[[Voice], Voice]:
        """Makes the function below it the voice of a concept."""

        def put(make: Voice) -> Voice:
            self[code] = make
            return make

        return put
