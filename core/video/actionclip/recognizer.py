"""ActionCLIP: actions are named by words (Wang et al. 2021, https://arxiv.org/abs/2109.08472).

A clip is T frames. Prompts of the image tower may let frames know of their time (before the network) and of each other (inside
it); a post-network prompt (`heads`) makes one feature of them. Labels are put into sentences (`prompts`), and

    probabilities = mean over sentences of softmax(100 * cos(clip, sentence))         (section 3.2, as the published test has it)

so that any words can be offered, also names of actions that were never trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import DUAL_ENCODERS
from core.clip.encoders import DualEncoder
from core.clip.handles import Handle, remembered_texts
from core.clip.labels import NO_NOTES, Notes, read
from core.clip.prompts import resolve
from core.clip.zero_shot import normalise
from core.video import models
from core.video.actionclip import objectives, prompts
from core.video.actionclip.heads import Post, PostPrompt, PostSettings
from core.video.frames import EncodedClip
from core.video.models import LoadedVideo

FRAMES = 8
PARTS = ("pre", "in", "post")  # the prompts that can be switched off
KINDS = ("all", "prefix", "cloze", "suffix", "bare")  # of sentences
WINDOWS = 6


@dataclass(frozen=True)
class Recognition:
    """The answer first, then what it was made of."""

    checkpoint: str
    labels: tuple[str, ...]
    probabilities: np.ndarray  # [N]; sums to one
    per_template: np.ndarray  # [K, N] the probabilities of each sentence
    cosines: np.ndarray  # [N], the mean over sentences
    templates: tuple[str, ...]
    frame_features: np.ndarray  # [T, D], as the post-network prompt averages them
    frame_probabilities: np.ndarray  # [T, N] of each of these frames alone
    clip_features: np.ndarray  # [D], norm 1
    text_features: np.ndarray  # [K, N, D], norm 1
    times: np.ndarray  # [T] seconds
    parts: tuple[str, ...]  # the prompts in use, of `PARTS`
    logit_scale: float
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    notes: Notes = NO_NOTES

    @property
    def order(self) -> np.ndarray:
        """Label indices, best first."""
        return np.argsort(-self.probabilities, kind="stable")

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values, best first."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "results": [
                {
                    "label": self.labels[i],
                    "probability": float(self.probabilities[i]),
                    "cosine": float(self.cosines[i]),
                }
                for i in self.order
            ],
            "times": [float(at) for at in self.times],
            "over_time": {
                label: [float(value) for value in self.frame_probabilities[:, i]]
                for i, label in enumerate(self.labels)
            },
            **self.notes.to_json(),
        }


@dataclass(frozen=True)
class Timeline:
    """What a video shows part by part."""

    labels: tuple[str, ...]
    times: np.ndarray  # [W, 2] beginning and end of each part, seconds
    probabilities: np.ndarray  # [W, N]


def parts_of(checkpoint: str) -> tuple[str, ...]:
    """The prompts that a row has, of `PARTS`; a row of CLIP has none."""
    options = checkpoints.row(checkpoint).options
    tower = options.get("tower", {})
    found = {
        "pre": tower.get("time", "none") != "none",
        "in": bool(tower.get("shift")),
        "post": options.get("post", "meanP") != "meanP",
    }
    return tuple(name for name in PARTS if found[name])


def templates_of(
    checkpoint: str, which: str | Sequence[str] = "all", language: str = "en"
) -> tuple[str, ...]:
    """Sentences for labels: those of a kind ("all", "prefix", "cloze", "suffix", "bare"), or given ones with "{}".

    Raises:
        Refusal: what `core.clip.prompts.resolve` refuses.
    """
    if isinstance(which, str) and which in KINDS:
        own = checkpoints.row(checkpoint).options.get("templates", {})
        table = tuple(own[language]) if language in own else prompts.TEMPLATES
        return prompts.of_kind(which, table) or ("{}",)
    return resolve((which,) if isinstance(which, str) else which)


class ActionRecognizer(Handle[Any]):
    """Actions in words. A light handle: the weights live in the process's model pool."""

    LOADERS = DUAL_ENCODERS | {"core.video.actionclip.recognizer:load_actionclip"}

    @contextmanager
    def video(self) -> Iterator[LoadedVideo]:
        """The loaded row; one of CLIP averages its frames."""
        with self.use() as loaded:
            if isinstance(loaded, DualEncoder):
                loaded = LoadedVideo(loaded, {"meanP": PostPrompt(PostSettings("meanP"))})
            yield loaded

    @property
    def parts(self) -> tuple[str, ...]:
        """The prompts of the row, of `PARTS`."""
        return parts_of(self.checkpoint)

    @property
    def frames(self) -> int:
        """T of the row."""
        return int(checkpoints.row(self.checkpoint).options.get("frames", FRAMES))

    def encode(
        self,
        video: inputs.Video | EncodedClip,
        parts: Sequence[str] | None = None,
        times: np.ndarray | None = None,
        check: Callable[[], object] | None = None,
    ) -> EncodedClip:
        """T frames of a video (from `core.inputs.video`), from the middles of equal parts; remembered.

        Args:
            video: a video, or what this made of it.
            parts: the prompts in use; "pre" and "in" change what the tower sees.
            times: [T] seconds in place of the middles.
            check: called on the way; may raise to stop.
        """
        if isinstance(video, EncodedClip):
            return video
        wanted = video.uniform(self.frames) if times is None else times
        without = [name for name in self.parts if parts is not None and name not in parts]
        return models.encode(self, video, wanted, check, without)

    def encode_text(self, sentences: Sequence[str]) -> np.ndarray:
        """Features [N, D] of sentences, norm 1; only new ones are computed."""
        return remembered_texts(self.key, sentences, lambda missing: _encode_text(self, missing))

    def classify(
        self,
        video: inputs.Video | EncodedClip,
        labels: str | Sequence[str],
        templates: str | Sequence[str] = "all",
        parts: Sequence[str] | None = None,
        language: str = "en",
        check: Callable[[], object] | None = None,
    ) -> Recognition:
        """Ranks labels for a clip.

        Args:
            video: a video, or what `encode` made of it.
            labels: texts in a language that the checkpoint knows, or one text that is cut at commas and lines.
            templates: a kind of the row's sentences, or sentences with "{}".
            parts: the prompts in use, of `PARTS`; all that the row has when None.
            language: of the row's own sentences, where it has some for several.
            check: called on the way; may raise to stop.

        Raises:
            Refusal: what `prompts.resolve`, `inputs.labels` and the checkpoint refuse.
        """
        start = time.perf_counter()
        sentences = templates_of(self.checkpoint, templates, language)
        used = tuple(name for name in self.parts if parts is None or name in parts)
        clip = self.encode(video, used, check=check)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels, sentences)
        texts = self.encode_text(prompts.sentences(offered.texts, sentences))
        texts_at = time.perf_counter()
        sequence, feature = _post(self, clip.frame_features[None], "post" in used)
        table = texts.reshape(len(sentences), len(offered), -1)  # [K, N, D]
        scale = self.logit_scale
        per_template = normalise(scale * table @ feature[0], "softmax")
        per_frame = normalise(scale * np.einsum("knd,td->tkn", table, _unit(sequence[0])), "softmax").mean(1)
        end = time.perf_counter()
        return Recognition(
            checkpoint=self.checkpoint,
            labels=offered.names,
            probabilities=per_template.mean(0),
            per_template=per_template,
            cosines=(table @ feature[0]).mean(0),
            templates=sentences,
            frame_features=sequence[0],
            frame_probabilities=per_frame,
            clip_features=feature[0],
            text_features=table,
            times=clip.times,
            parts=used,
            logit_scale=scale,
            device=self.device,
            seconds=end - start,
            timings={
                "encode_frames": 1000 * (encoded_at - start),
                "encode_text": 1000 * (texts_at - encoded_at),
                "classify": 1000 * (end - texts_at),
            },
            notes=offered.notes,
        )

    def timeline(
        self,
        video: inputs.Video,
        labels: str | Sequence[str],
        templates: str | Sequence[str] = "all",
        parts: Sequence[str] | None = None,
        language: str = "en",
        windows: int = WINDOWS,
        check: Callable[[], object] | None = None,
    ) -> Timeline:
        """The probabilities of each of some equal parts of a video, as if it were a clip of its own."""
        edges = np.linspace(0, video.duration, windows + 1)
        middles = (np.arange(self.frames) + 0.5) / self.frames
        found = []
        for begin, end in pairwise(edges):
            clip = self.encode(video, parts, begin + middles * (end - begin), check)
            found.append(self.classify(clip, labels, templates, parts, language))
        return Timeline(
            found[0].labels,
            np.stack([edges[:-1], edges[1:]], axis=1),
            np.stack([one.probabilities for one in found]),
        )

    @property
    def logit_scale(self) -> float:
        """exp(t) of the answer: 100 as in the published test, or the row's own."""
        return float(checkpoints.row(self.checkpoint).options.get("test_scale", objectives.TEST_SCALE))


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=-1, keepdims=True).clip(1e-9)


# --- where the weights are ---------------------------------------------------------------------------------


def settings_of(row: Checkpoint, width: int) -> PostSettings:
    """A row's post-network prompt: the sizes of the released models, or those that the row names."""
    options = row.options
    post: Post = options.get("post", "meanP")
    return PostSettings(
        post=post,
        frames=int(options.get("frames", FRAMES)),
        width=width,
        layers=int(options.get("layers", PostSettings.layers)),
        heads=int(options.get("heads", max(1, width // 64))),
        positions=int(options.get("positions", PostSettings.positions)),
        epsilon=float(options.get("epsilon", PostSettings.epsilon)),
    )


def _head(paths: Mapping[str, Path], row: Checkpoint) -> PostPrompt:
    _, config, *_ = models.clip_of(paths, row)
    return PostPrompt(settings_of(row, config["embed_dim"]))


def load_actionclip(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedVideo:
    """A file of the authors' program, of MMAction2's, or a miniature: CLIP behind "clip.", and the prompt's tensors."""
    loaded = models.load(models.plain(paths, row), row, device, dtype, {"": _head(paths, row)})
    loaded.heads = {"post": loaded.heads[""]}
    return loaded


def tensors(row: Checkpoint, paths: Mapping[str, Path]) -> Mapping[str, Tensor]:
    """What `load_actionclip` wants of a file, without memory."""
    return models.tensors(row, paths, lambda: _head(paths, row))


@runtime.on_device
def _encode_text(model: ActionRecognizer, sentences: Sequence[str]) -> np.ndarray:
    with model.video() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return F.normalize(loaded.texts(sentences), dim=-1).cpu().numpy()


@runtime.on_device
def _post(model: ActionRecognizer, frames: np.ndarray, on: bool) -> tuple[np.ndarray, np.ndarray]:
    """What is averaged [B, T, D], and the features of the clips [B, D], norm 1; without the prompt the frames' own."""
    with model.video() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        x = torch.from_numpy(frames).to(loaded.device, loaded.dtype)
        head: Any = next(iter(loaded.heads.values()))
        sequence = head.sequence(x) if on else x
        feature = head(x) if on else x.mean(1)
        return sequence.float().cpu().numpy(), F.normalize(feature.float(), dim=-1).cpu().numpy()
