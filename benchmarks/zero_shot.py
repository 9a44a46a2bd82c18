"""Zero-shot classification of a batch of images with 1,000 labels, compared with a plain open_clip loop.

    python -m benchmarks.zero_shot [--model ViT-B-32-quickgelu] [--pictures 16] [--labels 1000]

Both run the same open_clip model with the same random weights (the time does not depend on them) in one process on the same
threads, one after the other, three times. The fastest run of each is compared, and so are the probabilities. The baseline
is the loop of open_clip's README: tokenise and encode the labels at full context length in batches of 64, then encode the
images in batches of 32.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from core import checkpoints, terminal
from core.clip import encoders
from core.clip.zero_shot import normalise


def random_pictures(count: int) -> list[Image.Image]:
    """RGB images of 320 x 240 pixels from a seed."""
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (240, 320, 3), dtype=np.uint8)) for _ in range(count)]


@torch.inference_mode()
def baseline(model: Any, name: str, pictures: list[Image.Image], labels: list[str]) -> np.ndarray:
    """open_clip as its README uses it: probabilities [B, N]."""
    transform = open_clip.image_transform(model.visual.image_size, is_train=False)
    tokenizer = open_clip.get_tokenizer(name)
    text_features = torch.cat(
        [model.encode_text(tokenizer(labels[i : i + 64]), normalize=True) for i in range(0, len(labels), 64)]
    )
    image_features = torch.cat(
        [
            model.encode_image(torch.stack([transform(p) for p in pictures[i : i + 32]]), normalize=True)
            for i in range(0, len(pictures), 32)
        ]
    )
    logits = model.logit_scale.exp() * image_features @ text_features.T
    return logits.softmax(dim=-1).numpy()


def ours(encoder: encoders.DualEncoder, pictures: list[Image.Image], labels: list[str]) -> np.ndarray:
    """The same through `core.clip`, nothing cached: probabilities [B, N]."""
    image_features = encoder.encode_image(pictures)
    text_features = encoder.encode_text(labels)
    return normalise(encoder.logit_scale * image_features @ text_features.T, "softmax")


def main() -> None:
    """Prints both times, their ratio and the largest difference of a probability."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32-quickgelu")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--labels", type=int, default=1000)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config(arguments.model)).eval()
    row = replace(checkpoints.row("clip-vit-b32"), options={"model": arguments.model})
    tower = encoders.OpenClipViT if "ViT" in arguments.model else encoders.OpenClipResNet
    encoder = encoders.DualEncoder(
        row,
        model,
        vision=tower(model.visual),
        text=encoders.OpenClipText(model, encoders.open_clip_tokenizer({}, row, model.context_length)),
        preprocess=encoders.OpenClipPreprocess(
            model.visual.image_size, encoders.OPENAI_MEAN, encoders.OPENAI_STD, "bicubic", "shortest"
        ),
        device="cpu",
        dtype=torch.float32,
    )
    pictures = random_pictures(arguments.pictures)
    nouns = open_clip.IMAGENET_CLASSNAMES
    labels = [f"a photo of a {nouns[i % len(nouns)]}." for i in range(arguments.labels)]
    times: dict[str, list[float]] = {"ours": [], "open_clip": []}
    for _ in range(3):
        start = time.perf_counter()
        expected = baseline(model, arguments.model, pictures, labels)
        times["open_clip"].append(time.perf_counter() - start)
        start = time.perf_counter()
        got = ours(encoder, pictures, labels)
        times["ours"].append(time.perf_counter() - start)
    mine, theirs = min(times["ours"]), min(times["open_clip"])
    print(
        f"{arguments.model}, {arguments.pictures} images x {arguments.labels} labels, "
        f"{torch.get_num_threads()} threads, fp32"
    )
    print(f"ours {mine:.2f} s, open_clip loop {theirs:.2f} s, ratio {theirs / mine:.2f}x")
    print(f"largest difference of a probability {np.abs(got - expected).max():.1e}")


if __name__ == "__main__":
    sys.exit(terminal.run(main))
