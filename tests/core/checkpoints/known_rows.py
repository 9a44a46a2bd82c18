"""Tiny rows on a stand-in Hub whose "published" answers come from the libraries called directly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file

from core import runtime
from core.checkpoints import integrity, known, known_inputs
from core.clip.encoders import OPENAI_MEAN, OPENAI_STD
from core.segmentation.probes import DRAWN
from tests import standin_hub, tiny
from tests.standin_hub import point_at

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = ("a photo of a dog", "a cat", "red envelope")
SIDE = 32
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
MISTAKES = ("activation", "colours", "resize", "tokens", "permutation")


class Shelf:
    """Repositories of a stand-in Hub, with the registry and the known answers that go with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[str] = []
        self.answers: list[str] = []

    def folder(self, name: str) -> Path:
        """Where the files of a row's repository lie."""
        folder = self.root / "hub" / "lab" / name / COMMIT
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def row(self, name: str, loader: str, normalisation: str = "softmax", **options: Any) -> None:
        """Puts a repository into the registry, with its digests."""
        lines = [
            f"[{name}]", 'paper = "clip"', 'title = {en = "Tiny", zh = "微型"}', f'loader = "{loader}"',
            f'repo = "lab/{name}"', f'revision = "{COMMIT}"', 'licence = "mit"', 'licence_note = {en = "-", zh = "-"}',
            'citation = "-"', 'languages = ["en"]', f'normalisation = "{normalisation}"', 'knows = {en = "-", zh = "-"}',
            'lacks = {en = "-", zh = "-"}', f"[{name}.options]", *(f"{k} = {toml(v)}" for k, v in options.items()),
        ]  # fmt: skip
        for file in sorted(self.folder(name).iterdir()):
            lines += [f"[[{name}.files]]", f'path = "{file.name}"', f'sha256 = "{integrity.sha256(file)}"']
            lines += [f"size = {file.stat().st_size}"]
        self.rows.append("\n".join(lines))

    def answer(
        self, name: str, probe: str, kind: str, want: Any, texts: Sequence[str] = TEXTS, **more: Any
    ) -> None:
        """Publishes an answer of a row about `scene-320`, at the tolerance of the kind."""
        table = {
            "input": "scene-320", "texts": list(texts), "probe": probe, "kind": kind, "want": want, "by": "run",
            "source": "the library", **TOLERANCES.get(kind, {}), **more,
        }  # fmt: skip
        lines = [f"{key} = {toml(value)}" for key, value in table.items()]
        self.answers.append("\n".join([f"[[answers.{name}]]", *lines]))

    def write(self, built_in: str) -> tuple[Path, Path]:
        """The registry file and the file of known answers: the inputs and kinds of the repository, these answers."""
        registry, known = self.root / "registry.toml", self.root / "known.toml"
        registry.write_text("\n\n".join(self.rows), encoding="utf-8")
        head = built_in[: built_in.index("# --- answers ---")]
        known.write_text(head + "\n\n" + "\n\n".join(self.answers), encoding="utf-8")
        return registry, known


@contextmanager
def on_hub(shelf: Shelf, tables: Sequence[str] = ()) -> Iterator[standin_hub.StandInHub]:
    """A stand-in Hub with the repositories of a shelf, whose registry and known answers hold while it runs.

    Args:
        shelf: complete: what is added later is not seen.
        tables: more of the file of known answers.
    """
    registry, answers = shelf.write(known.BUILT_IN.read_text(encoding="utf-8"))
    answers.write_text("\n\n".join([answers.read_text(encoding="utf-8"), *tables]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, standin_hub.serve(shelf.root / "hub") as server:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "SPACE_ID", "SYSTEM"):
            patch.delenv(name, raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        patch.setenv("CLIP_ATLAS_REGISTRY", str(registry))
        patch.setenv("CLIP_ATLAS_KNOWN_ANSWERS", str(answers))
        patch.setenv("CLIP_ATLAS_DEVICE", "cpu")
        point_at(server.url, patch)
        patch.setattr(constants, "HF_HOME", str(shelf.root / "home"))
        patch.setattr(constants, "HF_HUB_CACHE", str(shelf.root / "home" / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(shelf.root / "home" / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server
    huggingface_hub.close_session()
    runtime.POOL.drop_idle()
    known_inputs.fetched.cache_clear()


# The tolerances of the real rows.
TOLERANCES: dict[str, dict[str, float]] = {
    "logits": {"tolerance": 0.03},
    "features": {"tolerance": 0.001},
    "energies": {"relative": 0.02},
    "probabilities": {"tolerance": 0.01},
    "boxes": {"tolerance": 0.01, "pixels": 1.5},
    "masks": {"tolerance": 0.02},
}


def toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def scene() -> Image.Image:
    """The image that the answers are about."""
    (image,) = known_inputs.images(known_inputs.Input("scene-320", "-", drawing="scene_320"))
    return image


def meadow() -> Image.Image:
    """The image that masks are about."""
    (image,) = known_inputs.images(known_inputs.Input("meadow", "-", drawing="meadow"))
    return image


def token_ids(texts: Sequence[str], length: int | None = None) -> torch.Tensor:
    """The tiny tokenizer's ids, padded with zeros."""
    ids = [encoding.ids for encoding in tiny.tokenizer().encode_batch(list(texts))]
    batch = torch.zeros(len(ids), length or max(map(len, ids)), dtype=torch.long)
    for line, text in zip(batch, ids, strict=True):
        line[: len(text)] = torch.tensor(text)
    return batch


def spread(model: torch.nn.Module, std: float = 0.2, seed: int = 0, of_text: float | None = None) -> Any:
    """Random matrices, large enough that every part of a network matters; those of a text tower may be larger."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 or name.endswith("class_embedding"):
            torch.nn.init.normal_(parameter, std=of_text if of_text and "text_model" in name else std)
    return model.eval()


# --- a CLIP of open_clip: logits, probabilities, energies, features, words ----------------------------------


def clip_repository(folder: Path) -> dict[str, Any]:
    """Files of a tiny CLIP with QuickGELU, and what open_clip says with them, by kind."""
    tiny.make_bundle(folder, image_size=SIDE)
    path = folder / "open_clip_config.json"
    told = json.loads(path.read_text())
    told["model_cfg"]["quick_gelu"] = True
    told["preprocess_cfg"] = {
        "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest",
    }  # fmt: skip
    path.write_text(json.dumps(told))
    model: Any = open_clip.CLIP(**told["model_cfg"]).eval()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    transform: Any = open_clip.image_transform(
        SIDE, False, OPENAI_MEAN, OPENAI_STD, resize_mode="shortest", interpolation="bicubic"
    )
    with torch.inference_mode():
        seen = model.encode_image(transform(scene())[None])
        read = model.encode_text(token_ids(TEXTS, model.context_length))
        unit = [torch.nn.functional.normalize(one, dim=-1) for one in (seen, read)]
        logits = model.logit_scale.exp() * unit[0] @ unit[1].T
    return {
        "logits": logits.tolist(),
        "probabilities": logits.softmax(-1).tolist(),
        "energies": [float(one.square().mean()) for one in (seen, read)],
        "features": read[:, :3].tolist(),
        "words": [TEXTS[int(logits.argmax())]],
    }


CLIP_PROBES = {
    "logits": "core.clip.probes:logits",
    "probabilities": "core.clip.probes:probabilities",
    "energies": "core.clip.probes:energies",
    "features": "core.clip.probes:text_features",
    "words": "core.clip.probes:best_texts",
}


def edit_json(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Changes a JSON file in place."""
    told = json.loads(path.read_text(encoding="utf-8"))
    edit(told)
    path.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def reorder_tokens(folder: Path) -> None:
    """Every word of the vocabulary gets the id of the next one."""

    def edit(told: dict[str, Any]) -> None:
        ids = told["model"]["vocab"]
        words = [word for word in ids if not word.startswith("<")]
        ids.update(zip(words, [ids[word] for word in [*words[1:], words[0]]], strict=True))

    edit_json(folder / "tokenizer.json", edit)


def permute(folder: Path, ending: str) -> None:
    """The rows of a matrix of each tower stand in another order."""
    path = folder / "model.safetensors"
    state = load_file(path)
    names = [name for name in state if name.endswith(ending)]
    assert names
    for name in names:
        state[name] = state[name].flip(0).contiguous()
    save_file(state, path, metadata={"format": "pt"})


def spoil_clip(folder: Path, mistake: str) -> None:
    """Plants a mistake in the files of `clip_repository`."""
    config = folder / "open_clip_config.json"
    if mistake == "activation":
        edit_json(config, lambda told: told["model_cfg"].update(quick_gelu=False))
    elif mistake == "colours":
        edit_json(config, lambda told: told["preprocess_cfg"].update(mean=[0.5] * 3, std=[0.5] * 3))
    elif mistake == "resize":
        edit_json(config, lambda told: told["preprocess_cfg"].update(resize_mode="squash"))
    elif mistake == "tokens":
        reorder_tokens(folder)
    else:
        permute(folder, "resblocks.1.mlp.c_fc.weight")


# --- an OWL-ViT: boxes -------------------------------------------------------------------------------------


def owl_repository(folder: Path, family: str = "OwlViT") -> list[list[float]]:
    """Files of a tiny OWL-ViT or OWLv2, and the two surest boxes that transformers finds with them."""
    import transformers

    words = tiny.tokenizer().get_vocab_size()
    config = getattr(transformers, f"{family}Config")(
        text_config={
            **SMALL, "vocab_size": words, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": words - 1,
        },
        vision_config={**SMALL, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )  # fmt: skip
    model = spread(getattr(transformers, f"{family}ForObjectDetection")(config), 0.5, 3, 1.0)
    model.save_pretrained(folder)
    processor = getattr(transformers, f"{family}ImageProcessor")(size={"height": 64, "width": 64})
    processor.save_pretrained(folder)
    tiny.tokenizer().save(str(folder / "tokenizer.json"))
    image, tokens = scene(), token_ids(TEXTS, 16)
    with torch.inference_mode():
        output = model(
            input_ids=tokens,
            attention_mask=(tokens > 0).long(),
            pixel_values=processor(images=image, return_tensors="pt")["pixel_values"],
        )
    size = torch.tensor([[max(image.size)] * 2 if family == "Owlv2" else image.size[::-1]])
    (found,) = processor.post_process_object_detection(output, threshold=0.0, target_sizes=size)
    edges = torch.tensor([*image.size, *image.size])
    corners = torch.minimum(found["boxes"].clamp(min=0), edges)
    area = (corners[:, 2:] - corners[:, :2]).prod(1)
    inside = torch.where(area > 1000, found["scores"], 0)  # OWLv2 also has boxes in what pads an image
    best = inside.argsort(descending=True)[:2]
    return torch.cat([found["scores"][best, None], corners[best]], 1).tolist()


def spoil_owl(folder: Path, mistake: str) -> None:
    """Plants a mistake in the files of `owl_repository`."""
    pixels = folder / "preprocessor_config.json"
    if mistake == "activation":

        def edit(told: dict[str, Any]) -> None:
            for tower in ("text_config", "vision_config"):
                told[tower]["hidden_act"] = "gelu"

        edit_json(folder / "config.json", edit)
    elif mistake == "colours":
        edit_json(pixels, lambda told: told.update(image_mean=[0.5] * 3, image_std=[0.5] * 3))
    elif mistake == "resize":
        edit_json(pixels, lambda told: told.update(resample=0))
    elif mistake == "tokens":
        reorder_tokens(folder)
    else:
        permute(folder, "layers.1.mlp.fc1.weight")


# --- a CLIPSeg: masks --------------------------------------------------------------------------------------

MASKED = ("a red circle", "a blue square", "dog")


def clipseg_repository(folder: Path) -> list[float]:
    """Files of a tiny CLIPSeg, and the overlaps that transformers' maps have with what is drawn."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessorPil

    words = tiny.tokenizer().get_vocab_size()
    config = CLIPSegConfig(
        text_config={
            **SMALL, "vocab_size": words, "max_position_embeddings": 12, "eos_token_id": words - 1, "bos_token_id": 1,
            "pad_token_id": 0,
        },
        vision_config={**SMALL, "num_hidden_layers": 3, "image_size": 32, "patch_size": 16},
        projection_dim=24, reduce_dim=8, decoder_num_attention_heads=2, decoder_intermediate_size=16,
        extract_layers=[0, 1, 2], use_complex_transposed_convolution=True,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    model = spread(CLIPSegForImageSegmentation(config), 0.4, 1)
    tiny.tokenizer().save(str(folder / "tokenizer.json"))
    side = {"height": 64, "width": 64}
    processor = ViTImageProcessorPil(
        size=side, resample=2, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    processor.save_pretrained(folder)
    image = meadow()
    with torch.inference_mode():
        pixels = torch.as_tensor(np.array(processor(images=image)["pixel_values"]))
        given = {"input_ids": token_ids(MASKED), "pixel_values": pixels.expand(len(MASKED), -1, -1, -1)}
        # Half of every map says yes, so that a mask has an outline.
        model.decoder.transposed_convolution[-1].bias -= model(**given).logits.median()
        model.save_pretrained(folder)
        maps = model(**given).logits
    masks = torch.nn.functional.interpolate(maps[None], image.size[::-1], mode="bilinear")[0] > 0
    made = []
    for text, mask in zip(MASKED, masks.numpy(), strict=True):
        drawn = (np.asarray(image) == DRAWN[text]).all(-1) if text in DRAWN else np.ones_like(mask)
        made.append(float((mask & drawn).sum() / ((mask | drawn).sum())))
    return made


def spoil_clipseg(folder: Path, mistake: str) -> None:
    """Plants a mistake in the files of `clipseg_repository`."""
    if mistake == "resize":
        edit_json(
            folder / "preprocessor_config.json",
            lambda told: told.update(size={"height": 48, "width": 48}),
        )
    else:
        spoil_owl(folder, mistake)


def copy(source: Path, target: Path) -> Path:
    """The files of a repository once more."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    return target
