"""The report card: measured rows beside published numbers, `assets/report_card.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from core.classroom.concepts import ASSETS

CARD = ASSETS / "report_card.json"


def rows() -> list[dict[str, Any]]:
    """All rows recorded so far."""
    return json.loads(CARD.read_text(encoding="utf-8")) if CARD.exists() else []


def record(new: Sequence[dict[str, Any]]) -> None:
    """Put rows on the card; those that the same command measured before are replaced."""
    replaced = {(r["paper"], r["checkpoint"], r["command"]) for r in new}
    kept = [r for r in rows() if (r["paper"], r["checkpoint"], r["command"]) not in replaced]
    body = ",\n".join(json.dumps(r, ensure_ascii=False) for r in [*kept, *new])
    CARD.write_text(f"[\n{body}\n]\n", encoding="utf-8")
