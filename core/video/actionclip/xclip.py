"""X-CLIP (Ni et al. 2022, https://arxiv.org/abs/2208.02816): ActionCLIP's descendant, whose weights are on the Hub.

Frames exchange messages inside the image tower, a small transformer joins them, and each sentence is changed a little by what the
clip shows (video-specific prompting), so that a label's feature is another one for every clip. The model is transformers'.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core import checkpoints, inputs, runtime
from core.checkpoints import Checkpoint
from core.clip import encoders, prompts
from core.clip.handles import Handle
from core.clip.labels import read
from core.clip.towers import padded
from core.clip.zero_shot import normalise
from core.video import frames
from core.video.actionclip.recognizer import Recognition, templates_of
from core.video.frames import EncodedClip


class LoadedXCLIP:
    """What the pool keeps of a row: the model, its tokenizer, how it wants frames."""

    def __init__(
        self,
        model: Any,
        tokenize: Any,
        preprocess: encoders.TransformersPreprocess,
        device: str,
        dtype: torch.dtype,
    ) -> None:
        self.model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.tokenize, self.preprocess, self.device, self.dtype = tokenize, preprocess, device, dtype

    @property
    def nbytes(self) -> int:
        """Bytes of weights and buffers."""
        return runtime.network_bytes(self.model)

    @property
    def logit_scale(self) -> float:
        """exp(t), learned."""
        return float(self.model.logit_scale.exp())

    def pixels(self, images: Sequence[Any]) -> Tensor:
        """RGB images -> [T, 3, H, W]."""
        return torch.stack([self.preprocess(image) for image in images]).to(self.device, self.dtype)

    def clip(self, pixels: Tensor) -> Tensor:
        """A clip [T, 3, H, W] -> [T + 1 + h*w, D]: its frames, itself, and its places averaged over time."""
        net = self.model
        seen = net.vision_model(pixel_values=pixels)
        each = net.visual_projection(seen.pooler_output)  # [T, D]
        whole = net.mit(each[None]).pooler_output  # [1, D]
        places = net.prompts_visual_layernorm(seen.last_hidden_state[:, 1:]) @ net.prompts_visual_projection
        return torch.cat([each, whole, places.mean(0)])

    def texts(self, sentences: Sequence[str]) -> Tensor:
        """Sentences -> features [N, D], not normalised."""
        ids = self.tokenize(sentences)
        batch = padded(ids, max(map(len, ids)))
        return self.model.get_text_features(batch.to(self.device)).pooler_output

    def prompted(self, texts: Tensor, places: Tensor) -> Tensor:
        """Sentences [N, D] as a clip with these places [h*w, D] changes them, norm 1."""
        changed = texts + self.model.prompts_generator(texts[None], places[None])[0]
        return F.normalize(changed, dim=-1)


def clip_tokens(loaded: LoadedXCLIP, pixels: Tensor) -> Tensor:
    """What `LoadedXCLIP.clip` makes of a clip."""
    return loaded.clip(pixels)


class XCLIP(Handle[LoadedXCLIP]):
    """Actions in words that each clip changes. A light handle: the weights live in the process's model pool."""

    LOADERS = frozenset(("core.video.actionclip.xclip:load_xclip",))
    parts: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """T of the row."""
        return int(checkpoints.row(self.checkpoint).options["frames"])

    def encode(
        self,
        video: inputs.Video | EncodedClip,
        parts: Sequence[str] | None = None,
        times: np.ndarray | None = None,
        check: Callable[[], object] | None = None,
    ) -> EncodedClip:
        """T frames of a video, from the middles of equal parts; remembered. `parts` is for ActionCLIP's rows."""
        if isinstance(video, EncodedClip):
            return video
        wanted = video.uniform(self.frames) if times is None else times
        return frames.encode(self, video, wanted, features=clip_tokens, whole=True, check=check)

    def classify(
        self,
        video: inputs.Video | EncodedClip,
        labels: str | Sequence[str],
        templates: str | Sequence[str] = "bare",
        parts: Sequence[str] | None = None,
        language: str = "en",
        check: Callable[[], object] | None = None,
    ) -> Recognition:
        """Ranks labels for a clip; arguments as of `ActionRecognizer.classify`."""
        start = time.perf_counter()
        sentences = templates_of(self.checkpoint, templates, language)
        clip = self.encode(video, check=check)
        encoded_at = time.perf_counter()
        offered = read(self.tokenize, labels, sentences)
        captions = [prompts.fill(template, text) for template in sentences for text in offered.texts]
        each, feature, texts, scale = _compare(self, clip.frame_features, len(clip.times), captions)
        table = texts.reshape(len(sentences), len(offered), -1)
        per_template = normalise(scale * table @ feature, "softmax")
        per_frame = normalise(scale * np.einsum("knd,td->tkn", table, each), "softmax").mean(1)
        end = time.perf_counter()
        return Recognition(
            checkpoint=self.checkpoint,
            labels=offered.names,
            probabilities=per_template.mean(0),
            per_template=per_template,
            cosines=(table @ feature).mean(0),
            templates=sentences,
            frame_features=each,
            frame_probabilities=per_frame,
            clip_features=feature,
            text_features=table,
            times=clip.times,
            parts=(),
            logit_scale=scale,
            device=self.device,
            seconds=end - start,
            timings={"encode_frames": 1000 * (encoded_at - start), "classify": 1000 * (end - encoded_at)},
            notes=offered.notes,
        )


def load_xclip(paths: Mapping[str, Path], row: Checkpoint, device: str, dtype: torch.dtype) -> LoadedXCLIP:
    """A published X-CLIP in transformers' form; its tokenizer is CLIP's."""
    transformers = runtime.import_whole("transformers")
    folder = paths["config.json"].parent
    model = encoders.from_transformers(transformers.XCLIPModel, folder, row, dtype, ("position_ids",))
    length = model.config.text_config.max_position_embeddings
    processor = transformers.CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    return LoadedXCLIP(
        model,
        encoders.open_clip_tokenizer({}, row, length),
        encoders.TransformersPreprocess(processor),
        device,
        dtype,
    )


@runtime.on_device
def _compare(
    model: XCLIP, tokens: np.ndarray, count: int, sentences: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Frames [T, D] and the clip [D], norm 1, the sentences as the clip changes them [N, D], and exp(t)."""
    with model.use() as loaded, runtime.semaphore(model.device), torch.inference_mode():
        own = torch.from_numpy(tokens).to(loaded.device, loaded.dtype)
        each, whole, places = own[:count], own[count], own[count + 1 :]
        texts = loaded.prompted(loaded.texts(sentences), places)
        unit = [F.normalize(one.float(), dim=-1).cpu().numpy() for one in (each, whole)]
        return unit[0], unit[1], texts.float().cpu().numpy(), loaded.logit_scale
