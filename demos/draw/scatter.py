"""Points of one space on a plane or in space, by their kinds, with images and lines between pairs: plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from demos.kit.html import escape

# Neighbours write to different sides, so that their words lie on each other less often.
PLACES = ("top center", "bottom center", "middle right", "middle left")
GREY = "#8a8a8a"
SOFT = {"showgrid": True, "gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "showticklabels": False}
CLEAR = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "font": {"size": 13}}
LONGEST = 22  # characters of a name beside its point


@dataclass(frozen=True)
class Kind:
    """How the points of a kind look; `named` where their names are written on a plane, too."""

    title: str
    colour: str
    symbol: str
    size: float
    named: bool = False


def figure(
    points: np.ndarray,
    names: Sequence[str],
    kinds: Sequence[str],
    looks: dict[str, Kind],
    thumbnails: Sequence[str | None],
    pairs: Sequence[tuple[int, int]],
    axes: Sequence[str],
) -> Any:
    """The points as a plotly figure.

    Args:
        points: [M, 2] or [M, 3].
        names: M texts.
        kinds: of each point.
        looks: of each kind, in the order of the legend.
        thumbnails: for each point a data URI, or None; those of the first kind are larger.
        pairs: points that belong together: joined by a line.
        axes: the titles of the axes.
    """
    import plotly.graph_objects as go

    flat = points.shape[1] == 2
    scatter = go.Scatter if flat else go.Scatter3d
    plot = go.Figure()

    def trace(index: Sequence[int], **options: Any) -> None:
        places = {axis: points[list(index), k].tolist() for k, axis in enumerate("xyz"[: points.shape[1]])}
        plot.add_trace(scatter(**places, **options))

    for pair in pairs:
        line = {"color": GREY, "width": 1.2 if flat else 2}
        trace(pair, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    for kind, look in looks.items():
        index = [i for i, one in enumerate(kinds) if one == kind]
        if not index:
            continue
        texts = [str(escape(names[i])) for i in index]
        # On a plane the images stand for themselves; in space their names do.
        written = look.named or not flat
        trace(
            index,
            mode="markers+text" if written else "markers",
            name=look.title,
            text=[t if len(t) <= LONGEST else t[: LONGEST - 1] + "…" for t in texts] if written else None,
            hovertext=texts,
            hoverinfo="text+name",
            textposition=[PLACES[i % len(PLACES)] for i in range(len(index))] if flat else "top center",
            textfont={"size": 12, "color": GREY},
            marker={
                "color": look.colour,
                "symbol": look.symbol,
                "size": look.size if flat else max(4, look.size / 2),
            },
        )
    plot.update_layout(
        **CLEAR,
        height=560,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=True,
        legend={"orientation": "h", "y": 1.08, "x": 0},
        hovermode="closest",
    )
    if not flat:
        scene = {
            f"{axis}axis": {"title": {"text": title}, "showbackground": False, "color": GREY, **SOFT}
            for axis, title in zip("xyz", axes, strict=True)
        }
        return plot.update_layout(scene=scene)
    first, span = next(iter(looks)), np.ptp(points, axis=0).clip(1e-6)
    for i, source in enumerate(thumbnails):
        if source:
            share = 0.13 if kinds[i] == first else 0.085
            plot.add_layout_image(
                source=source, xref="x", yref="y", x=float(points[i, 0]), y=float(points[i, 1]),
                sizex=float(share * span[0]), sizey=float(1.5 * share * span[1]), xanchor="center", yanchor="middle",
                opacity=0.95, layer="below",
            )  # fmt: skip
    low, high = points.min(axis=0) - 0.14 * span, points.max(axis=0) + 0.14 * span
    ranges = np.stack([low, high], axis=1).tolist()
    return plot.update_layout(
        xaxis={"title": axes[0], "range": ranges[0], **SOFT},
        yaxis={"title": axes[1], "range": ranges[1], **SOFT},
    )
