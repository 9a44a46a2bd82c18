"""How the things of the classroom sound: one short generator each, by code point.

Each takes a `Draw` and returns [N, A] samples of any loudness; `core.classroom.world.sounds` puts them into rooms.
"""

from __future__ import annotations

from core.classroom.world.voices import animals, instruments, people, things, vehicles, weather
from core.classroom.world.voices.register import Voice

# In the order of the labels that checkpoints were trained on.
VOICES: dict[str, Voice] = {
    **animals.VOICES,
    **vehicles.VOICES,
    **instruments.VOICES,
    **things.VOICES,
    **weather.VOICES,
    **people.VOICES,
}
