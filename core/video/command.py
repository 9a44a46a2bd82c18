"""`python -m core rank` and `python -m core action`: CLIP4Clip and ActionCLIP from the shell."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from core import checkpoints, inputs, terminal

if TYPE_CHECKING:
    pass


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds both verbs to the command line."""
    verb = verbs.add_parser("rank", help="rank videos by a sentence (CLIP4Clip, any CLIP)")
    verb.add_argument("query", help="a sentence")
    verb.add_argument("videos", nargs="+", type=Path, metavar="clip", help="video files")
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument(
        "--head", help="meanP, seqLSTM, seqTransf or tightTransf; the checkpoint's first without it"
    )
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=rank)
    verb = verbs.add_parser("action", help="name the action of a video (ActionCLIP, X-CLIP, any CLIP)")
    verb.add_argument("video", type=Path, metavar="clip", help="a video file")
    verb.add_argument("--labels", required=True, help="actions, separated by commas or lines")
    verb.add_argument("--template", help="all, prefix, cloze, suffix, bare, or a sentence with {}")
    verb.add_argument(
        "--language", choices=["en", "zh"], default="en", help="of the checkpoint's own sentences"
    )
    verb.add_argument("--checkpoint", help="a row of `python -m core.checkpoints list`")
    verb.add_argument("--json", action="store_true", help="print the answer as JSON")
    verb.set_defaults(run=action)


def rank(arguments: argparse.Namespace) -> None:
    """CLIP4Clip: ranks videos by a sentence."""
    query = inputs.text(arguments.query)
    videos = [inputs.video(path, max_seconds=None, max_bytes=None) for path in arguments.videos]
    from core.video.clip4clip.retriever import VideoRetriever

    model = VideoRetriever.load(arguments.checkpoint or checkpoints.default("clip4clip"))
    found = model.rank(query, videos, arguments.head)
    names = [str(path) for path in arguments.videos]
    if arguments.json:
        answer = found.to_json()
        for row in answer["results"]:
            row["file"] = names[row["clip"]]
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(f"{found.checkpoint}, {found.head}, {1000 * found.seconds:.0f} ms")
    for i in found.order.tolist():
        best = found.times[i][found.frames[i].argmax()]
        print(f"{found.scores[i]:+.3f}  {best:7.2f} s  {inputs.visible(names[i])}")
    terminal.tell(found.notes)


def action(arguments: argparse.Namespace) -> None:
    """ActionCLIP: names the action of a video."""
    labels = inputs.labels(arguments.labels, limit=1000)
    video = inputs.video(arguments.video, max_seconds=None, max_bytes=None)
    from core.video import actionclip

    found = actionclip.load(arguments.checkpoint or checkpoints.default("actionclip")).classify(
        video, labels, arguments.template or "all", language=arguments.language
    )
    if arguments.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return
    print(f"{found.checkpoint}, {1000 * found.seconds:.0f} ms")
    for i in found.order.tolist():
        print(
            f"{found.probabilities[i]:7.1%}  cosine {found.cosines[i]:+.3f}  {inputs.visible(found.labels[i])}"
        )
    terminal.tell(found.notes)
