"""AudioCLIP: sound as the third modality of CLIP (Guzhov et al. 2022, https://arxiv.org/abs/2106.13043).

CLIP's two towers stay, an audio tower comes beside them, and all three end in one space of D dimensions. Each pair of modalities
has a temperature of its own, so a sound, an image and a text give three matrices of similarities:

    sound-text = exp(t_at) S T',   sound-image = exp(t_ai) S I',   image-text = exp(t) I T'          (section 3.2)

The answer uses evaluation mode and samples in the int16 range, as the published training does and the notebook does not.
A long sound is heard in windows; its feature is the direction of the mean of theirs.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.audio import clap, objectives
from core.audio.esresnet import EncoderSettings, ESResNeXt
from core.audio.fbsp import FrontEnd, FrontEndSettings
from core.checkpoints import Checkpoint, originals
from core.clip import encoders
from core.clip.encoders import DualEncoder
from core.clip.handles import Handle, remembered_texts
from core.clip.labels import NO_NOTES, Notes, read
from core.clip.tokenizers import Tokenizer

INT16 = 32_768.0
RATE, SECONDS = 44_100, 5.0  # of the released models' training
MOST_WINDOWS = 60
# How `AudioCLIP.variants` hears: as trained; with the filters of a Fourier transform; as the published notebook does, with
# samples in -1..1, or with the statistics of the few sounds at hand in place of those of the training.
WAYS = ("learned", "plain", "quiet", "batch")
AUDIO = "audio."  # what stands before the names of the audio tower's tensors
SCALES = ("logit_scale_ai", "logit_scale_at")
COLUMNS, ROWS = 400, 128  # of the picture of a spectrum
FLOOR, CEILING = -100.0, 0.0  # dB of that picture
PICTURE_RATE = 16_000
PICTURE = FrontEndSettings(n_fft=512, hop_length=512, win_length=512, window="hann")


@dataclass(frozen=True)
class EncodedSound:
    """The expensive half: one sound in the space of one checkpoint."""

    checkpoint: str
    digest: str  # of the file
    duration: float
    starts: np.ndarray  # [W] seconds at which windows begin
    seconds: float  # of a window
    window_features: np.ndarray  # [W, D], norm 1
    features: np.ndarray  # [D], norm 1

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.starts.nbytes + self.window_features.nbytes + self.features.nbytes

    @property
    def middles(self) -> np.ndarray:
        """[W] seconds at the middles of the windows."""
        return np.minimum(self.starts + self.seconds / 2, self.duration)


class Scales(NamedTuple):
    """exp(t) of the pairs."""

    audio_image: float
    audio_text: float
    image_text: float


@dataclass(frozen=True)
class Comparison:
    """The answer first, then what it was made of. A row without an image tower has no columns of images."""

    checkpoint: str
    labels: tuple[str, ...]
    sound_text: np.ndarray  # [S, N] cosines
    sound_image: np.ndarray  # [S, I]
    image_text: np.ndarray  # [I, N]
    over_time: tuple[np.ndarray, ...]  # for each sound the probabilities [W, N] of its windows
    sounds: tuple[EncodedSound, ...]
    image_features: np.ndarray  # [I, D], norm 1
    text_features: np.ndarray  # [N, D], norm 1
    scales: Scales
    device: str
    seconds: float
    timings: dict[str, float]  # milliseconds by step
    notes: Notes = NO_NOTES

    def probabilities(self, sound: int = 0) -> np.ndarray:
        """[N] of the labels for a sound; they sum to one."""
        return softmax(self.scales.audio_text * self.sound_text[sound])

    def image_probabilities(self, sound: int = 0) -> np.ndarray:
        """[I] of the images for a sound; they sum to one."""
        return softmax(self.scales.audio_image * self.sound_image[sound])

    @property
    def sound_probabilities(self) -> np.ndarray:
        """[S, N] of the sounds for each label: every column sums to one."""
        return softmax(self.scales.audio_text * self.sound_text, axis=0)

    def order(self, sound: int = 0) -> np.ndarray:
        """Label indices for a sound, best first."""
        return np.argsort(-self.sound_text[sound], kind="stable")

    def to_json(self) -> dict[str, Any]:
        """The answer as plain values."""
        return {
            "checkpoint": self.checkpoint,
            "seconds": round(self.seconds, 4),
            "labels": list(self.labels),
            "sounds": [self._of_sound(i) for i in range(len(self.sounds))],
            "image_text": self.image_text.tolist(),
            "scales": self.scales._asdict(),
            **self.notes.to_json(),
        }

    def _of_sound(self, i: int) -> dict[str, Any]:
        probabilities, images = self.probabilities(i), self.image_probabilities(i)
        return {
            "duration": round(self.sounds[i].duration, 3),
            "results": [
                {"label": self.labels[n], "probability": float(probabilities[n]), "cosine": float(self.sound_text[i, n])}
                for n in self.order(i)
            ],
            "images": [
                {"image": int(k), "probability": float(images[k]), "cosine": float(self.sound_image[i, k])}
                for k in np.argsort(-images, kind="stable")
            ],
            "times": [round(float(at), 3) for at in self.sounds[i].middles],
            "over_time": {label: self.over_time[i][:, n].tolist() for n, label in enumerate(self.labels)},
        }  # fmt: skip


@dataclass(frozen=True)
class Inside:
    """What the audio tower sees of one window."""

    wave: np.ndarray  # [A]
    decibels: np.ndarray  # [3, F, T] low, middle and high band
    plain: np.ndarray  # [3, F, T] the same with the filters of a Fourier transform
    maps: tuple[np.ndarray, ...]  # attention of the stages, [f, t] means over channels, 0 to 1
    filters: np.ndarray  # [K, 3]: frequency in Hz, width, order
    start: np.ndarray  # [K, 3]: the same before training


class LoadedAudio:
    """What the pool keeps of a row: CLIP's towers, the audio tower, the temperatures."""

    def __init__(self, encoder: DualEncoder, audio: ESResNeXt, scales: Scales, row: Checkpoint) -> None:
        self.encoder, self.scales = encoder, scales
        self.audio = audio.to(device=encoder.device, dtype=encoder.dtype).eval().requires_grad_(False)
        if encoder.device == "cpu":
            cast("Any", self.audio).to(memory_format=torch.channels_last)  # a third faster
        self.rate = int(row.options.get("rate", RATE))
        self.window = float(row.options.get("seconds", SECONDS))

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        tensors = [*self.audio.parameters(), *self.audio.buffers()]
        return self.encoder.nbytes + sum(t.numel() * t.element_size() for t in tensors)

    def sounds(self, waves: Sequence[np.ndarray]) -> np.ndarray:
        """Waves [A] in -1..1, all of one length -> features [W, D], norm 1."""
        batch = torch.from_numpy(np.stack(waves))[:, None].to(self.encoder.device, self.encoder.dtype)
        return F.normalize(self.audio(batch * INT16).float(), dim=-1).cpu().numpy()

    def images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """RGB images -> features [I, D], norm 1."""
        return self.encoder.encode_image(images)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> features [N, D], norm 1."""
        return self.encoder.encode_text(texts)


ENCODED: runtime.ByteCache[EncodedSound] = runtime.ByteCache()
IMAGES: runtime.ByteCache[np.ndarray] = runtime.ByteCache()


class AudioCLIP(Handle[Any]):
    """Sounds, images and texts in one space. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.audio.audioclip:load_audioclip", "core.audio.clap:load_clap"))

    @property
    def sees(self) -> bool:
        """Whether the row has an image tower."""
        return checkpoints.row(self.checkpoint).loader.endswith(":load_audioclip")

    @property
    def tokenize(self) -> Tokenizer:
        """Texts to token ids; without the weights."""
        return super().tokenize if self.sees else clap.tokenizer(self.checkpoint)

    def encode(
        self, sound: inputs.Sound | EncodedSound, check: Callable[[], object] | None = None
    ) -> EncodedSound:
        """A sound (from `core.inputs.sound`) in windows that overlap by half; remembered.

        Args:
            sound: a sound, or what this made of it.
            check: called on the way; may raise to stop.
        """
        if isinstance(sound, EncodedSound):
            return sound
        return ENCODED.get_or((*self.key, sound.digest), partial(_encode, self, sound, check))

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Features [I, D] of RGB images, norm 1; remembered."""
        found = [
            IMAGES.get_or((*self.key, inputs.digest(image)), partial(_encode_image, self, image))
            for image in images
        ]
        return np.stack(found) if found else np.zeros((0, 0), np.float32)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Features [N, D] of texts, norm 1; only new ones are computed."""
        return remembered_texts(self.key, texts, lambda missing: _encode_text(self, missing))

    @property
    def scales(self) -> Scales:
        """exp(t) of the pairs."""
        with self.use() as loaded:
            found: Scales = loaded.scales
            return found

    def compare(
        self,
        sounds: Sequence[inputs.Sound | EncodedSound],
        images: Sequence[Image.Image],
        labels: str | Sequence[str],
        check: Callable[[], object] | None = None,
    ) -> Comparison:
        """The three similarity matrices of sounds, images and labels.

        Args:
            sounds: at least one, from `core.inputs.sound`.
            images: RGB, none where there are none; a row without an image tower leaves them out.
            labels: texts in a language that the checkpoint knows, or one text that is cut at commas and lines. They stand alone,
                without a sentence, as in the published training.
            check: called on the way; may raise to stop.

        Raises:
            Refusal: what `inputs.labels` and the checkpoint refuse.
        """
        begin = time.perf_counter()
        encoded = tuple(self.encode(sound, check) for sound in sounds)
        heard = time.perf_counter()
        pictures = self.encode_images(images) if self.sees else np.zeros((0, 0), np.float32)
        seen = time.perf_counter()
        offered = read(self.tokenize, labels)
        texts = self.encode_text(offered.texts)
        scales = self.scales
        features = np.stack([one.features for one in encoded])
        pictures = pictures if len(pictures) else np.zeros((0, features.shape[1]), np.float32)
        end = time.perf_counter()
        return Comparison(
            checkpoint=self.checkpoint,
            labels=offered.names,
            sound_text=features @ texts.T,
            sound_image=features @ pictures.T,
            image_text=pictures @ texts.T,
            over_time=tuple(softmax(scales.audio_text * one.window_features @ texts.T) for one in encoded),
            sounds=encoded,
            image_features=pictures,
            text_features=texts,
            scales=scales,
            device=self.device,
            seconds=end - begin,
            timings={
                "encode_sounds": 1000 * (heard - begin),
                "encode_images": 1000 * (seen - heard),
                "encode_text": 1000 * (end - seen),
            },
            notes=offered.notes,
        )

    def variants(self, sounds: Sequence[inputs.Sound]) -> dict[str, np.ndarray]:
        """Features [S, D], norm 1, of the first window of each sound, heard in the ways of `WAYS`."""
        return _variants(self, sounds)

    def look(self, sound: inputs.Sound, at: float = 0.0) -> Inside:
        """What the audio tower sees of the window that begins at `at` seconds."""
        return _look(self, sound, at)


def softmax(logits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Probabilities along an axis."""
    shifted = np.exp(logits - logits.max(axis, keepdims=True)) if logits.size else logits
    return shifted / shifted.sum(axis, keepdims=True)


@runtime.on_device
def _encode(model: AudioCLIP, sound: inputs.Sound, check: Callable[[], object] | None) -> EncodedSound:
    with model.use() as loaded:
        starts = sound.starts(loaded.window, MOST_WINDOWS)
        # A short sound is heard as it is, without silence behind it.
        seconds = min(loaded.window, sound.duration) if len(starts) == 1 else loaded.window
        features = []
        for wave in sound.windows(loaded.rate, seconds, starts, check):
            with runtime.semaphore(model.device), torch.inference_mode():
                features.append(loaded.sounds([wave])[0])
    windows = np.stack(features)
    mean = windows.mean(0)
    return EncodedSound(
        model.checkpoint, sound.digest, sound.duration, starts, seconds, windows, mean / max(float(np.linalg.norm(mean)), 1e-9)
    )  # fmt: skip


@runtime.on_device
def _encode_image(model: AudioCLIP, image: Image.Image) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device):
        found: np.ndarray = loaded.images([image])[0]
        return found


@runtime.on_device
def _encode_text(model: AudioCLIP, texts: Sequence[str]) -> np.ndarray:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        found: np.ndarray = loaded.texts(texts)
        return found


@runtime.on_device
def _look(model: AudioCLIP, sound: inputs.Sound, at: float) -> Inside:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        audio: ESResNeXt = loaded.audio
        seconds = min(loaded.window, sound.duration)
        (wave,) = sound.windows(loaded.rate, seconds, [min(at, sound.duration - seconds)])
        x = torch.from_numpy(wave)[None, None].to(model.device, model.dtype) * INT16
        decibels = FrontEnd.forward(audio, x)
        plain = FrontEnd(audio.settings).to(model.device).requires_grad_(False)
        maps = audio.see(decibels).maps
        hertz = loaded.rate / (audio.settings.n_fft - 1)  # both ends of the time axis are samples
        learned, fresh = (
            torch.stack([one.fc * hertz, one.fb, one.m], 1).float().cpu().numpy()
            for one in (audio.fbsp, plain.fbsp)
        )
        return Inside(
            wave,
            decibels[0, 0].float().cpu().numpy(),
            plain(x.float())[0, 0].cpu().numpy(),
            tuple(one[0].float().mean(0).cpu().numpy() for one in maps),
            learned,
            fresh,
        )


@runtime.on_device
def _variants(model: AudioCLIP, sounds: Sequence[inputs.Sound]) -> dict[str, np.ndarray]:
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        audio: ESResNeXt = loaded.audio
        seconds = min(loaded.window, *(sound.duration for sound in sounds))
        waves = [next(sound.windows(loaded.rate, seconds, [0.0])) for sound in sounds]
        x = torch.from_numpy(np.stack(waves))[:, None].to(model.device, model.dtype)
        plain = FrontEnd(audio.settings).to(model.device, model.dtype).requires_grad_(False)
        learned = FrontEnd.forward(audio, x * INT16)
        training = copy.deepcopy(audio).train()  # a copy, because a pass changes the statistics that it keeps
        made = {
            "learned": audio.see(learned),
            "plain": audio.see(plain(x * INT16)),
            "quiet": audio.see(FrontEnd.forward(audio, x)),
            "batch": training.see(learned) if len(sounds) > 1 else audio.see(learned),
        }
        return {name: F.normalize(one.features.float(), dim=-1).cpu().numpy() for name, one in made.items()}


def spectrum(sound: inputs.Sound) -> np.ndarray:
    """A picture of a whole sound, uint8 [rows, columns], low frequencies at the bottom: a plain Fourier transform."""
    starts = np.linspace(
        0, max(0.0, sound.duration - 0.032), min(COLUMNS, max(2, int(sound.duration / 0.01)))
    )
    waves = np.stack(list(sound.windows(PICTURE_RATE, PICTURE.win_length / PICTURE_RATE, starts)))
    front = FrontEnd(PICTURE).requires_grad_(False)
    decibels = front(torch.from_numpy(waves)[:, None] * INT16).flatten(1)  # [columns, bins]
    picture = F.adaptive_max_pool1d(decibels[:, None], ROWS)[:, 0].T.flip(0)
    return ((picture.clamp(FLOOR, CEILING) - FLOOR) * (255 / (CEILING - FLOOR))).byte().numpy()


# --- where the weights are ---------------------------------------------------------------------------------


def _clip(
    paths: Mapping[str, Path], row: Checkpoint
) -> tuple[Any, Any, Mapping[str, Any], Mapping[str, Path], Mapping[str, Tensor]]:
    """open_clip's model of a row, its configuration, its preprocessing, its files, and tensors that the row's own file lacks."""
    if row.requires:
        (other,) = row.requires
        base = checkpoints.row(other)
        files = checkpoints.open(other, download=False)
        return *encoders.open_clip_model(files, base), files, encoders.open_clip_state(files, base)
    return *encoders.open_clip_model(paths, row), paths, {}


def load_audioclip(
    paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype
) -> LoadedAudio:
    """A file of the authors', or a miniature: CLIP's tensors under their own names, the audio tower's behind "audio."."""
    weights = next(path for name, path in paths.items() if name.endswith((".safetensors", ".pt")))
    weights = originals.as_safetensors(row, weights) if weights.suffix == ".pt" else weights
    own = checkpoints.load_state_dict(weights)
    model, config, preprocess, files, base = _clip(paths, row)
    clip = {name: t for name, t in own.items() if not name.startswith(AUDIO) and name not in SCALES} or dict(
        base
    )
    encoder = encoders.from_open_clip(model, clip, config, preprocess, files, row, device, dtype)
    audio = ESResNeXt(EncoderSettings.of(row.options.get("encoder", {})))
    # What follows from the settings may be left out of a file.
    implied = {"window": audio.window, "fbsp.bias": audio.fbsp.bias.detach()}
    state = {name.removeprefix(AUDIO): t for name, t in own.items() if name.startswith(AUDIO)}
    encoders.put_state(audio, encoders.in_precision({**implied, **state}, dtype), row)
    ai, at = (float(objectives.scale(own[name].float())) for name in SCALES)
    it = min(max(encoder.logit_scale, objectives.SCALE_RANGE[0]), objectives.SCALE_RANGE[1])
    return LoadedAudio(encoder, audio, Scales(ai, at, it), row)


def tensors(row: Checkpoint, paths: Mapping[str, Path]) -> dict[str, Tensor]:
    """What `load_audioclip` wants of a file, without memory: what an imported file is compared with."""
    model, *_ = encoders.open_clip_model(paths, row)
    with torch.device("meta"):
        audio = ESResNeXt(EncoderSettings.of(row.options.get("encoder", {})))
        scales = {name: torch.empty(()) for name in SCALES}
    return dict(model.state_dict()) | {AUDIO + name: t for name, t in audio.state_dict().items()} | scales
