"""CLIP4Clip: sentences find clips (Luo et al. 2021, https://arxiv.org/abs/2104.08860).

A clip is T frames, encoded one by one with CLIP's image tower; a similarity calculator (`heads`) makes a score of T vectors and
a sentence. `rank` sorts clips by a sentence, `describe` sentences by a clip, `neighbours` clips by a clip. Any CLIP row is a
retriever too: the mean of its frames has no weights of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import DUAL_ENCODERS
from core.clip.encoders import DualEncoder
from core.clip.handles import Handle, remembered_texts
from core.clip.labels import NO_NOTES, Notes, read
from core.errors import Refusal
from core.video import models
from core.video.clip4clip.heads import Header, HeadSettings, Similarity
from core.video.frames import EncodedClip
from core.video.models import LoadedVideo

MEAN: Header = "meanP"
FRAMES, RATE = 12, 1.0  # of the published commands: at most so many, one a second
WEBVID_SCALE = 100.0  # exp(t) of CLIP, for files that leave it out


@dataclass(frozen=True)
class Sampling:
    """Which frames of a clip are looked at; the names in the published commands stand behind.

    Attributes:
        frames: at most so many (max_frames).
        rate: taken from so many a second (feature_framerate).
        cut: which of them where there are more (slice_framepos): the first, the last, or evenly spread.
        order: as they come, backwards, or shuffled (eval_frame_order).
    """

    frames: int = FRAMES
    rate: float = RATE
    cut: Literal["head", "tail", "uniform"] = "uniform"
    order: Literal["ordinary", "reverse", "random"] = "ordinary"

    def times(self, duration: float) -> np.ndarray:
        """[T] seconds, ascending: those of the frames, before they are put in another order."""
        every = np.arange(max(1, int(np.floor(duration * self.rate + 1e-6)))) / self.rate
        if len(every) <= self.frames:
            return every
        if self.cut == "head":
            return every[: self.frames]
        if self.cut == "tail":
            return every[-self.frames :]
        return every[np.linspace(0, len(every) - 1, self.frames).astype(int)]

    def ordered(self, clip: EncodedClip) -> EncodedClip:
        """The clip with its frames in this order; a shuffled one is the same every time."""
        if self.order == "ordinary":
            return clip
        count = len(clip.times)
        places = (
            np.arange(count)[::-1] if self.order == "reverse" else np.random.default_rng(0).permutation(count)
        )
        return replace(
            clip,
            times=clip.times[places],
            frame_features=clip.frame_features[places],
            pictures=clip.pictures[places],
        )


@dataclass(frozen=True)
class Ranking:
    """The answer first, then what it was made of; the order of the clips is that of the question."""

    checkpoint: str
    query: str
    head: Header
    scores: np.ndarray  # [V]: cosines of clip and sentence; of tightTransf logits
    logits: np.ndarray  # [V] = logit_scale * cosines; of tightTransf the scores
    frames: tuple[np.ndarray, ...]  # per clip [T]: cosine of each frame with the sentence
    times: tuple[np.ndarray, ...]  # per clip [T] seconds
    clip_features: np.ndarray | None  # [V, D], norm 1; None for tightTransf, which has no vector of a clip
    text_features: np.ndarray  # [D], norm 1
    logit_scale: float
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    notes: Notes = NO_NOTES

    @property
    def order(self) -> np.ndarray:
        """Places of the clips, best first."""
        return np.argsort(-self.scores, kind="stable")

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values, best first."""
        return {
            "checkpoint": self.checkpoint,
            "query": self.query,
            "head": self.head,
            "seconds": round(self.seconds, 4),
            "results": [
                {
                    "clip": int(i),
                    "score": float(self.scores[i]),
                    "best_time": float(self.times[i][self.frames[i].argmax()]),
                    "frames": [
                        {"time": float(at), "cosine": float(value)}
                        for at, value in zip(self.times[i], self.frames[i], strict=True)
                    ],
                }
                for i in self.order
            ],
            **self.notes.to_json(),
        }


def headers(checkpoint: str) -> tuple[Header, ...]:
    """The similarity calculators that a row has; the mean alone for a row of CLIP."""
    return tuple(checkpoints.row(checkpoint).options.get("headers", (MEAN,)))


def sampling(checkpoint: str) -> Sampling:
    """The frames that a row looks at: its own numbers where it names them, else those of the published commands."""
    options = checkpoints.row(checkpoint).options
    return Sampling(int(options.get("frames", FRAMES)), float(options.get("rate", RATE)))


class VideoRetriever(Handle[Any]):
    """Sentences and clips in one space. A light handle: the weights live in the process's model pool."""

    LOADERS = DUAL_ENCODERS | {
        "core.video.clip4clip.retriever:load_clip4clip",
        "core.video.clip4clip.retriever:load_webvid",
    }

    @contextmanager
    def video(self) -> Iterator[LoadedVideo]:
        """The loaded row; one of CLIP gets the mean as its head."""
        with self.use() as loaded:
            if isinstance(loaded, DualEncoder):
                loaded = LoadedVideo(loaded, {MEAN: Similarity(HeadSettings(MEAN))})
            yield loaded

    @property
    def headers(self) -> tuple[Header, ...]:
        """The similarity calculators of the row."""
        return headers(self.checkpoint)

    def head(self, name: str | None) -> Header:
        """A calculator by its name; the row's first one where it is None.

        Raises:
            Refusal: "no_such_head" where the row has none of that name.
        """
        own = self.headers
        for header in own:
            if name in (None, "", header):
                return header
        raise Refusal("no_such_head", head=str(name)[:40], checkpoint=self.checkpoint, known=", ".join(own))

    def encode(
        self,
        video: inputs.Video | EncodedClip,
        asked: Sampling | None = None,
        cancel: runtime.Cancel | None = None,
    ) -> EncodedClip:
        """The frames of a video (from `core.inputs.video`); remembered by file, row and times."""
        if isinstance(video, EncodedClip):
            return video
        chosen = asked or sampling(self.checkpoint)
        return chosen.ordered(
            models.encode(self, video, chosen.times(video.duration), None if cancel is None else cancel.check)
        )

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Features [N, D] of sentences, not normalised; only new ones are computed."""
        return remembered_texts((*self.key, "raw"), texts, lambda missing: _encode_text(self, missing))

    def rank(
        self,
        query: str,
        videos: Sequence[inputs.Video | EncodedClip],
        head: str | None = None,
        asked: Sampling | None = None,
        cancel: runtime.Cancel | None = None,
    ) -> Ranking:
        """Scores clips by a sentence.

        Args:
            query: a sentence in a language that the checkpoint knows.
            videos: V videos, or what `encode` made of them.
            head: a similarity calculator of the row; its first one when None.
            asked: which frames; the row's own sampling when None.
            cancel: a set flag stops before the next video.

        Raises:
            Refusal: "no_such_head", "cancelled", what reading texts and videos refuses.
        """
        start = time.perf_counter()
        chosen = self.head(head)
        offered = read(self.tokenize, [query])
        clips = self._clips(videos, asked, cancel)
        encoded_at = time.perf_counter()
        texts = self.encode_text(offered.texts)
        texts_at = time.perf_counter()
        logits, vectors, scale = _scores(self, texts, [clip.frame_features for clip in clips], chosen)
        unit = texts[0] / np.linalg.norm(texts[0])
        end = time.perf_counter()
        return Ranking(
            checkpoint=self.checkpoint,
            query=offered.names[0],
            head=chosen,
            scores=logits[0] / scale,
            logits=logits[0],
            frames=tuple(clip.directions @ unit for clip in clips),
            times=tuple(clip.times for clip in clips),
            clip_features=vectors,
            text_features=unit,
            logit_scale=scale,
            device=self.device,
            seconds=end - start,
            timings={
                "encode_frames": 1000 * (encoded_at - start),
                "encode_text": 1000 * (texts_at - encoded_at),
                "rank": 1000 * (end - texts_at),
            },
            notes=offered.notes,
        )

    def table(
        self,
        texts: Sequence[str],
        videos: Sequence[inputs.Video | EncodedClip],
        head: str | None = None,
        asked: Sampling | None = None,
    ) -> np.ndarray:
        """Scores [N, V] of every sentence with every clip: columns rank the clips of a sentence, rows the sentences of a clip."""
        chosen = self.head(head)
        clips = self._clips(videos, asked, None)
        features = self.encode_text([inputs.clean(text) for text in texts])
        logits, _, scale = _scores(self, features, [clip.frame_features for clip in clips], chosen)
        return logits / scale

    def neighbours(
        self,
        video: inputs.Video | EncodedClip,
        videos: Sequence[inputs.Video | EncodedClip],
        head: str | None = None,
    ) -> np.ndarray:
        """Cosines [V] of a clip with clips.

        Raises:
            Refusal: "tight_wants_text" for the tight head, which makes no vector of a clip.
        """
        chosen = self.head(head)
        if chosen == "tightTransf":
            raise Refusal("tight_wants_text")
        clips = self._clips([video, *videos], None, None)
        none = np.zeros((0, clips[0].frame_features.shape[1]), np.float32)
        _, vectors, _ = _scores(self, none, [clip.frame_features for clip in clips], chosen)
        assert vectors is not None
        return vectors[1:] @ vectors[0]

    def _clips(
        self,
        videos: Sequence[inputs.Video | EncodedClip],
        asked: Sampling | None,
        cancel: runtime.Cancel | None,
    ) -> list[EncodedClip]:
        if not videos:
            raise Refusal("no_clips")
        clips = []
        for video in videos:
            if cancel is not None:
                cancel.check()
            clips.append(self.encode(video, asked, cancel))
        return clips


def padded(features: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Clips of different lengths as one tensor [V, T, D] and its mask [V, T]."""
    length = max(len(one) for one in features)
    frames_ = torch.zeros(len(features), length, features[0].shape[-1])
    mask = torch.zeros(len(features), length)
    for i, one in enumerate(features):
        frames_[i, : len(one)] = torch.from_numpy(one)
        mask[i, : len(one)] = 1
    return frames_, mask


# --- where the weights are ---------------------------------------------------------------------------------


def settings_of(row: Checkpoint, header: Header, width: int, positions: int) -> HeadSettings:
    """A row's calculator: the published sizes, or those that the row names."""
    options = row.options
    return HeadSettings(
        header=header,
        width=width,
        positions=positions,
        layers=int(options.get("layers", HeadSettings.layers)),
        heads=int(options.get("heads", max(1, width // 64))),
        normalised_frames=bool(options.get("normalised_frames", True)),
    )


def _heads(paths: Mapping[str, Path], row: Checkpoint) -> dict[str, Similarity]:
    """The row's calculators by the names that stand before their tensors: none where there is one."""
    _, config, *_ = models.clip_of(paths, row)
    width, positions = config["embed_dim"], config["text_cfg"]["context_length"]
    made: dict[str, Similarity] = {
        header: Similarity(settings_of(row, header, width, positions)) for header in headers(row.name)
    }
    return made if len(made) > 1 else {"": next(iter(made.values()))}


def load_clip4clip(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedVideo:
    """A file of the authors' program, of MMAction2's, or a miniature: CLIP behind "clip.", and the head's tensors."""
    return _named(models.load(paths, row, device, dtype, _heads(paths, row)), row)


def load_webvid(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedVideo:
    """CLIP4Clip's mean with CLIP tuned on WebVid, in transformers' form."""
    weights = next(path for name, path in paths.items() if name.endswith((".safetensors", ".bin")))
    clip = models.from_transformers(checkpoints.load_state_dict(weights))
    clip.setdefault("logit_scale", torch.tensor(WEBVID_SCALE).log())
    state = {models.CLIP + name: tensor for name, tensor in clip.items()}
    return _named(models.load(paths, row, device, dtype, _heads(paths, row), state), row)


def _named(loaded: LoadedVideo, row: Checkpoint) -> LoadedVideo:
    """A single head under its own name."""
    loaded.heads = {name or headers(row.name)[0]: head for name, head in loaded.heads.items()}
    return loaded


def tensors(row: Checkpoint, paths: Mapping[str, Path]) -> Mapping[str, Tensor]:
    """What `load_clip4clip` wants of a file, without memory."""
    head: Callable[[], Similarity] = lambda: _heads(paths, row)[""]  # noqa: E731
    return models.tensors(row, paths, head)


@runtime.on_device
def _encode_text(model: VideoRetriever, texts: Sequence[str]) -> np.ndarray:
    with model.video() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.texts(texts).cpu().numpy()


@runtime.on_device
def _scores(
    model: VideoRetriever, texts: np.ndarray, features: Sequence[np.ndarray], header: Header
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Logits [N, V], the vectors of the clips [V, D] where the head makes some, and the logit scale (1 for the tight one)."""
    with model.video() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        head: Any = loaded.heads[header]
        clips, mask = (one.to(loaded.device, loaded.dtype) for one in padded(features))
        sentences = torch.from_numpy(texts).to(loaded.device, loaded.dtype)
        if not head.settings.is_loose:
            return head.pairs(sentences, clips, mask).float().cpu().numpy(), None, 1.0
        scale = loaded.encoder.logit_scale
        vectors = head.clips(clips, mask)
        logits = scale * torch.nn.functional.normalize(sentences, dim=-1) @ vectors.T
        return logits.float().cpu().numpy(), vectors.float().cpu().numpy(), scale
