"""*Look inside* of the AudioCLIP page: the filters before and after training, bands and attention, shapes, code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from core import inputs
from demos.audioclip import answer as answers
from demos.audioclip import draw
from demos.audioclip.words import say
from demos.kit import results
from demos.kit.html import tag

if TYPE_CHECKING:
    from core.audio.audioclip import Inside
    from demos.audioclip.page import Question


def look(question: Question, lang: str) -> tuple[Inside | None, str]:
    """What the audio tower sees of the beginning of the sound, and the line; None of a row without this tower."""
    model = answers.model(question.checkpoint)
    sound = inputs.sound(question.sound)
    if not model.sees:
        return None, ""
    start = time.perf_counter()
    found = model.look(sound)
    return found, results.line(time.perf_counter() - start, model.checkpoint, model.device, lang)


def nothing(lang: str) -> dict[str, Any]:
    """The answer for a row without this tower."""
    return {"out": tag("p", say("no_tower", lang), class_="atlas-line"), "line": ""}


def filters(question: Question, lang: str) -> dict[str, Any]:
    """Frequency, width and order of the filters before and after training; the spectrum that both give."""
    found, line = look(question, lang)
    if found is None:
        return nothing(lang)
    moved = np.abs(found.filters[:, 0] - found.start[:, 0])
    told = say("filters_told", lang, count=len(moved), mean=float(moved.mean()), most=float(moved.max()))
    pictures = [
        (say("learned_filters", lang), draw.unit(np.concatenate(found.decibels), 0.02)),
        (say("plain_filters", lang), draw.unit(np.concatenate(found.plain), 0.02)),
    ]
    charts = draw.filters(found.filters, found.start, lang)
    return {"out": charts + tag("p", told, class_="atlas-line") + draw.maps(pictures), "line": line}


def bands(question: Question, lang: str) -> dict[str, Any]:
    """The three bands that are the channels of the image network, and the attention of its stages."""
    found, line = look(question, lang)
    if found is None:
        return nothing(lang)
    titles = [say(name, lang) for name in ("band_low", "band_middle", "band_high")]
    levels = draw.unit(found.decibels, 0.02)
    axes = [say(name, lang) for name in ("axis_frequency", "axis_time")]
    stages = [
        (say("stage", lang, stage=i + 1, axis=axes[i % 2]), draw.unit(one))
        for i, one in enumerate(found.maps)
        if one.size > 1
    ]
    return {"out": draw.maps(list(zip(titles, levels, strict=True)) + stages), "line": line}


def values(question: Question, lang: str) -> tuple[dict[str, Any], str]:
    """What the templates of shapes in data.toml ask for, and the line."""
    found, line = look(question, lang)
    if found is None:
        return {}, line
    answer = answers.run(question, lang)
    compared = answer.comparison
    _, height, width = found.decibels.shape
    return {
        "samples": len(found.wave),
        "filters": len(found.filters),
        "bins": height,
        "frames": width,
        "stages": " → ".join(f"[{one.shape[0]}, {one.shape[1]}]" for one in found.maps[:-1]) or "–",
        "width": compared.text_features.shape[1],
        "windows": len(compared.sounds[0].starts),
        "labels": len(compared.labels),
        "images": len(compared.image_features),
        "sounds": len(compared.sounds),
        "at": f"{compared.scales.audio_text:.1f}",
        "ai": f"{compared.scales.audio_image:.1f}",
        "it": f"{compared.scales.image_text:.1f}",
        "best": ", ".join(f"{value:.3f}" for value in np.sort(compared.probabilities())[::-1][:5]),
    }, answer.line(lang)
