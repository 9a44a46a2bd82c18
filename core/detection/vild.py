"""ViLD: a detector whose classes are any words (Gu et al. 2022, https://arxiv.org/abs/2104.13921).

Proposals say where something is, whatever it is; its name is decided by cosines of region embeddings with text embeddings.
The five variants differ in where a region embedding comes from:

    crops      each proposal cut out at 1x and 1.5x and encoded by CLIP: right, and slow (section 3.2)
    text       a head that learned base categories' texts and a background (section 3.3)
    image      a head that learned to say what CLIP says of crops (section 3.4)
    vild       one head that learned both
    ensemble   text and image together: what knows a category better weighs more (section 3.5)

An image is encoded once: new labels cost one product. The rows for photos have proposals of OWLv2 and CLIP on crops, the
paper's own baseline, because the paper's weights are for another library; "native" is what OWL-ViT and OWLv2 say by themselves.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders
from core.clip.handles import Handle, remembered_image, remembered_texts
from core.clip.labels import Labels, read
from core.clip.resnet import picture_tower
from core.detection import choices, wording
from core.detection import crops as of_crops
from core.detection.regions import ViLDNet, ensemble, probabilities
from core.detection.result import Detection
from core.errors import Refusal

Variant = Literal["crops", "text", "image", "vild", "ensemble", "native"]
VARIANTS: tuple[Variant, ...] = ("crops", "text", "image", "vild", "ensemble")
PROPOSALS = 100  # looked at unless told otherwise
STRIDE = 32  # the coarsest map's; sides of an image are multiples of it
CROPS_AT_ONCE = 16

ENCODED_IMAGES: runtime.ByteCache[EncodedImage] = runtime.ByteCache()
CROPS: runtime.ByteCache[np.ndarray] = runtime.ByteCache()  # of the first proposals of an image, [K, D]


@cache
def architectures() -> dict[str, Any]:
    """The rows of `architectures.toml`."""
    return tomllib.loads(Path(__file__).with_name("architectures.toml").read_text(encoding="utf-8"))


def variants(checkpoint: str) -> tuple[Variant, ...]:
    """What a row can do, its own order; the first is where a page starts.

    Raises:
        Refusal: "unknown_checkpoint", "other_checkpoint".
    """
    row = checkpoints.row(checkpoint, lambda row: row.loader in ViLD.LOADERS)
    named = tuple(row.options.get("variants", ("native",)))
    return tuple(v for v in get_args(Variant) if v in named)


@dataclass(frozen=True)
class Regions:
    """What one pass over an image finds; pixels of the caller's file."""

    proposals: np.ndarray  # [M, 4] xyxy, best objectness first
    boxes: np.ndarray  # [M, 4] the same after the box head, where there is one
    objectness: np.ndarray  # [M] 0..1
    embeddings: dict[str, np.ndarray]  # by head: [M, D], norm 1
    backgrounds: dict[str, np.ndarray]  # of the heads that have one: [D]
    shift: np.ndarray | None = None  # [M] of "native": logit = (cosine + shift) * scale
    scale: np.ndarray | None = None


@dataclass(frozen=True)
class EncodedImage:
    """The expensive half: what is in one image, whatever the labels will be."""

    checkpoint: str
    digest: str
    size: tuple[int, int]  # width, height of the caller's file
    picture: Image.Image  # crops are cut from it when they are asked for
    regions: Regions

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in memory."""
        arrays = [*self.regions.embeddings.values(), self.regions.proposals, self.regions.boxes]
        return sum(a.nbytes for a in arrays) + 4 * self.picture.width * self.picture.height  # Pillow pads RGB


class Loaded(Protocol):
    """What the pool keeps of a row."""

    def see(self, image: Image.Image) -> Regions:
        """Encodes an image (RGB)."""

    def texts(self, lines: Sequence[str]) -> np.ndarray | None:
        """Features [N, D], norm 1, of a text tower of its own; None where another row's is used."""


class LoadedViLD:
    """The miniature on its device."""

    def __init__(self, net: ViLDNet, row: Checkpoint, device: str, dtype: torch.dtype) -> None:
        self.net = net.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.device, self.dtype = device, dtype
        self.long_side = int(row.options["long_side"])
        self.mean = torch.tensor(row.options["mean"])[:, None, None]
        self.std = torch.tensor(row.options["std"])[:, None, None]

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.net)

    def pixels(self, image: Image.Image) -> Tensor:
        """[1, 3, H, W] normalised, sides multiples of 32."""
        width, height = working_size(*image.size, self.long_side)
        levels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32) / 255
        return ((torch.from_numpy(levels).permute(2, 0, 1) - self.mean) / self.std)[None].to(
            self.device, self.dtype
        )

    def see(self, image: Image.Image) -> Regions:
        net, pixels = self.net, self.pixels(image)
        size = (pixels.shape[-2], pixels.shape[-1])
        levels = net.proposer.pyramid(net.pretrained(pixels)[1:])
        (found,), (objectness,), _ = net.proposer.propose(levels, size)
        regions = net.proposer.regions(levels, [found], size).to(self.dtype)
        file_width, file_height = inputs.size_of(image)
        sides = np.array([file_width / size[1], file_height / size[0]] * 2, dtype=np.float32)
        return Regions(
            proposals=array(found) * sides,
            boxes=array(net.refined(regions, found, size)) * sides,
            objectness=array(objectness),
            embeddings={name: array(head(regions)) for name, head in net.heads.items()},
            backgrounds={name: array(vector) for name, vector in net.background.items()},
        )

    def texts(self, lines: Sequence[str]) -> np.ndarray | None:
        return None


def array(tensor: Tensor) -> np.ndarray:
    """On the CPU in float32."""
    return tensor.detach().float().cpu().numpy()


def working_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Width and height that an image is encoded at: this long side, both multiples of 32, near its own ratio."""
    scale = long_side / max(width, height)
    return tuple(max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (width, height))  # type: ignore[return-value]


class ViLD(Handle[Loaded]):
    """Detection by any words. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.detection.vild:load_vild", "core.detection.owl:load_owl"))

    def encode(self, image: Image.Image | EncodedImage) -> EncodedImage:
        """Proposals and the region embeddings of every head (RGB, from `core.inputs.image`); remembered by content."""
        return remembered_image(
            self.key,
            image,
            ENCODED_IMAGES,
            lambda image, digest, size: EncodedImage(
                self.checkpoint, digest, size, image, _encode_image(self, image)
            ),
        )

    def read_labels(self, labels: str | Sequence[str]) -> Labels:
        """Labels in the row's sentences, as its text encoder reads them."""
        name = checkpoints.row(self.checkpoint).options["prompts"]
        return read(self.tokenize, labels, sentences=lambda text: wording.sentences(text, name))

    def encode_text(self, labels: Sequence[str]) -> np.ndarray:
        """Features [N, D], norm 1: each label in the row's sentences, averaged; only new ones are computed."""
        return remembered_texts(self.key, labels, lambda missing: _encode_text(self, missing))

    def encode_crops(
        self,
        image: Image.Image | EncodedImage,
        proposals: int = PROPOSALS,
        cancel: runtime.Cancel | None = None,
    ) -> Generator[float, None, np.ndarray]:
        """CLIP's embeddings of the crops of the first proposals, which `detect` then finds in memory.

        Args:
            image: an image, or what `encode` made of it.
            proposals: how many.
            cancel: a set flag stops before the next crops; those that are done stay.

        Yields:
            The share that is done.

        Returns:
            The embeddings [M, D], norm 1.

        Raises:
            Refusal: "cancelled".
        """
        encoded = self.encode(image)
        wanted = encoded.regions.proposals[:proposals]
        key = (*self.key, encoded.digest)
        known = CROPS.get(key)
        while known is None or len(known) < len(wanted):
            if cancel is not None:
                cancel.check()
            done = 0 if known is None else len(known)
            new = _encode_crops(self, encoded.picture, wanted[done : done + CROPS_AT_ONCE])
            known = new if known is None else np.concatenate([known, new])
            CROPS.put(key, known, known.nbytes)
            yield len(known) / len(wanted)
        return known[: len(wanted)]

    def base_labels(self, language: str = "en") -> tuple[str, ...]:
        """The base vocabulary: what a fixed detector of this row would know; empty where none was trained."""
        return tuple(_vocabulary(self.checkpoint).get(language, ()))

    def is_base(self, labels: Sequence[str]) -> tuple[bool, ...]:
        """Which labels name a category that had boxes in training, by any of its names."""
        known = {wording.plain(name) for names in _vocabulary(self.checkpoint).values() for name in names}
        return tuple(wording.plain(label) in known for label in labels)

    def detect(
        self,
        image: Image.Image | EncodedImage,
        labels: str | Sequence[str],
        variant: Variant | None = None,
        base: Sequence[bool] | None = None,
        proposals: int = PROPOSALS,
        threshold: float | None = None,
        nms: float = 0.5,
        across_labels: bool = False,
        by_label: Mapping[str, float] | None = None,
        negatives: Sequence[str] = (),
    ) -> Detection:
        """Boxes of what the labels name.

        Args:
            image: an image, or what `encode` made of it.
            labels: texts in a language the checkpoint knows, or one text that is cut at commas and lines; those that
                the checkpoint reads alike are one label.
            variant: one of `variants(checkpoint)`; the ensemble, or the row's only one, when None.
            base: whether each of `inputs.labels(labels)` is a base category; what the row knows when None. The ensemble
                alone asks for it.
            proposals: how many are looked at, the likeliest first; all where none is likelier than another (OWL-ViT).
            threshold: the least score of a box; the row's own when None.
            nms: IoU above which the less sure of two boxes of one label goes.
            across_labels: whether the less sure of two boxes of different labels goes, too: one label for each thing.
            by_label: for single labels a least score in place of the threshold.
            negatives: further labels, whose boxes take those of others and are left out (`core.detection.choices`).

        Raises:
            Refusal: "unknown_variant".
        """
        start = time.perf_counter()
        able = variants(self.checkpoint)
        variant = variant or ("ensemble" if "ensemble" in able else able[-1])
        if variant not in able:
            raise Refusal("unknown_variant", name=str(variant)[:40], known=", ".join(able))
        encoded = self.encode(image)
        if not np.ptp(encoded.regions.objectness):
            # A network without objectness has its places in the order of the image, and the first are only its top.
            proposals = len(encoded.regions.objectness)
        encoded_at = time.perf_counter()
        names = inputs.labels(labels, limit=None)
        asked = choices.with_negatives(names, negatives)
        offered = self.read_labels(asked)
        hidden = choices.places(offered.names, asked[len(names) :])
        text_features = self.encode_text(offered.texts)
        texts_at = time.perf_counter()
        crops = runtime.finish(self.encode_crops(encoded, proposals)) if variant == "crops" else None
        crops_at = time.perf_counter()
        known = self.is_base(offered.texts)
        if base is not None:
            of_each = [*base, *self.is_base(asked[len(names) :])]
            known = tuple(bool(of_each[place]) for place in offered.places)
        options = checkpoints.row(self.checkpoint).options
        if threshold is None:
            threshold = float(options["thresholds"][variant])
        read = self._read(encoded, text_features, variant, known, proposals, crops)
        found = encoded.regions
        settled = found.proposals if variant == "crops" else found.boxes
        least = choices.least_scores(offered.names, threshold, by_label or {}, hidden)
        box, label, score = choices.choose(
            settled[:proposals], read.ranking, least, hidden, nms, across_labels
        )
        end = time.perf_counter()
        return Detection(
            checkpoint=self.checkpoint,
            variant=variant,
            labels=offered.names,
            base=known,
            boxes=settled[box],
            scores=score,
            label_indices=label,
            proposal_indices=box,
            proposals=found.proposals[:proposals],
            objectness=found.objectness[:proposals],
            region_embeddings=read.embeddings,
            text_features=text_features,
            cosines=read.embeddings @ text_features.T,
            class_scores=read.scores,
            background=read.background,
            parts=read.parts,
            size=encoded.size,
            device=self.device,
            seconds=end - start,
            timings={
                "image": 1000 * (encoded_at - start),
                "text": 1000 * (texts_at - encoded_at),
                "crops": 1000 * (crops_at - texts_at),
                "boxes": 1000 * (end - crops_at),
            },
            normalisation="sigmoid" if variant == "native" else "softmax",
            notes=offered.notes,
            negatives=hidden,
        )

    def closed(
        self, image: Image.Image | EncodedImage, language: str = "en", proposals: int = PROPOSALS,
        threshold: float | None = None,
    ) -> Detection:  # fmt: skip
        """What a detector with a fixed vocabulary would have said: the text head, and no label but the base categories.

        Raises:
            Refusal: "no_closed_vocabulary" where the row was not trained on base categories.
        """
        labels = self.base_labels(language)
        if not labels:
            raise Refusal("no_closed_vocabulary", checkpoint=self.checkpoint)
        return self.detect(image, labels, "text", proposals=proposals, threshold=threshold)

    def _read(
        self, encoded: EncodedImage, text_features: np.ndarray, variant: Variant, base: tuple[bool, ...], count: int,
        crops: np.ndarray | None,
    ) -> _Read:  # fmt: skip
        """Scores of a variant for the first `count` proposals; `crops` are CLIP's embeddings of them, if asked for."""
        regions = encoded.regions
        scale = float(checkpoints.row(self.checkpoint).options.get("scale", 1.0))
        texts = torch.from_numpy(text_features)
        objectness = torch.from_numpy(regions.objectness[:count])

        def head(name: str) -> Tensor:
            return torch.from_numpy(regions.embeddings[name][:count])

        def judged(name: str) -> Tensor:
            ground = torch.from_numpy(regions.backgrounds[name])
            return probabilities(head(name), texts, scale, ground)

        nothing = torch.zeros(len(objectness))
        parts: dict[str, np.ndarray] = {}
        if variant == "native":
            assert regions.shift is not None and regions.scale is not None
            shift, slope = (torch.from_numpy(v[:count])[:, None] for v in (regions.shift, regions.scale))
            scores = ((head("native") @ texts.T + shift) * slope).sigmoid()
            return _Read(array(head("native")), array(scores), array(nothing), array(scores), parts)
        if variant in ("text", "vild"):
            whole = judged(variant)
            ground, scores = whole[:, 0], whole[:, 1:]
            return _Read(array(head(variant)), array(scores), array(ground), array(scores), parts)
        if variant == "ensemble":
            whole, seen = judged("text"), probabilities(head("image"), texts, scale)
            scores = ensemble(whole[:, 1:], seen, torch.tensor(base))
            parts = {"text": array(whole[:, 1:]), "image": array(seen)}
            return _Read(array(head("text")), array(scores), array(whole[:, 0]), array(scores), parts)
        seen_as = head("image") if crops is None else torch.from_numpy(crops)
        scores = probabilities(seen_as, texts, scale)
        # No column of these says "nothing": how sure the proposal is that something is there stands in for it.
        ranking = (scores * objectness[:, None]).sqrt()
        return _Read(array(seen_as), array(scores), array(nothing), array(ranking), parts)


@dataclass(frozen=True)
class _Read:
    embeddings: np.ndarray
    scores: np.ndarray
    background: np.ndarray
    ranking: np.ndarray
    parts: dict[str, np.ndarray]


def load_vild(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedViLD:
    """The miniature: its own tensors, and the image tower of the row that it requires."""
    net = ViLDNet(architectures()[row.options["architecture"]])
    shared = checkpoints.open(next(iter(row.requires)), download=False)
    tower = picture_tower(checkpoints.load_state_dict(shared["model.safetensors"]))
    state = {**tower, **checkpoints.load_state_dict(paths["model.safetensors"])}
    encoders.put_state(net, encoders.in_precision(state, dtype), row)
    return LoadedViLD(net, row, device, dtype)


@cache
def _vocabulary(checkpoint: str) -> dict[str, list[str]]:
    """Names of base categories by language, and under "also" their other names."""
    row = checkpoints.row(checkpoint)
    if "vocabulary.json" not in {file.path for file in row.files}:
        return {}
    path = checkpoints.open(checkpoint, download=False)["vocabulary.json"]
    return json.loads(path.read_text(encoding="utf-8"))


@runtime.on_device
def _encode_image(model: ViLD, image: Image.Image) -> Regions:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        return loaded.see(image)


@runtime.on_device
def _encode_text(model: ViLD, labels: Sequence[str]) -> np.ndarray:
    row = checkpoints.row(model.checkpoint)
    asked = [wording.sentences(label, row.options["prompts"]) for label in labels]
    lines = [line for lines in asked for line in lines]
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        features = loaded.texts(lines)
    if features is None:
        shared = next(iter(row.requires))
        with encoders.use(shared, model.device, model.dtype) as encoder, runtime.semaphore(model.device):
            features = encoder.encode_text(lines)
    ends = np.cumsum([len(lines) for lines in asked])
    means = [part.mean(axis=0) for part in np.split(features, ends[:-1])]
    return np.stack([mean / np.linalg.norm(mean) for mean in means]).astype(np.float32)


@runtime.on_device
def _encode_crops(model: ViLD, picture: Image.Image, boxes: np.ndarray) -> np.ndarray:
    shared = next(iter(checkpoints.row(model.checkpoint).requires))
    with (
        encoders.use(shared, model.device, model.dtype) as encoder,
        runtime.semaphore(model.device),
        torch.inference_mode(),
    ):
        return array(of_crops.embeddings(picture, boxes, encoder))
