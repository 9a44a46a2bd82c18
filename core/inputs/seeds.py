"""Seeds: whole numbers from 0, and -1 for any."""

from __future__ import annotations

import secrets

from core.errors import Refusal

ANY = -1
BELOW = 2**31  # every generator in use takes these


def seed(value: int) -> int:
    """The seed itself, or a random one for -1.

    Raises:
        Refusal: "bad_seed" for a number outside -1 .. `BELOW`, one that is not whole, and for what is no number.
    """
    if not isinstance(value, int | float) or not ANY <= value < BELOW or value != int(value):
        raise Refusal("bad_seed", value=str(value)[:40], high=BELOW - 1)
    return secrets.randbelow(BELOW) if value == ANY else int(value)
