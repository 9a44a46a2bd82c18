"""Tiny rows of every other family, and what their libraries say of the same files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch

from tests import tiny
from tests.core.checkpoints.known_rows import SIDE, SMALL, TEXTS, scene, spread, token_ids


def siglip_repository(folder: Path) -> tuple[list[Any], list[Any]]:
    """Files of a tiny SigLIP 2; transformers' logits of "a dog", and the features of its text."""
    from transformers import SiglipImageProcessor, SiglipModel

    tiny.make_siglip(folder, image_size=48)
    model = SiglipModel.from_pretrained(folder).eval()
    pixels = SiglipImageProcessor.from_pretrained(folder)(images=scene(), return_tensors="pt")["pixel_values"]
    ids = torch.full((1, 64), 0)
    text = next(
        encoding.ids for encoding in siglip_library(folder).encode_batch(["a dog"], add_special_tokens=False)
    )
    ids[0, : len(text) + 1] = torch.tensor([*text, 1])
    with torch.inference_mode():
        output = model(input_ids=ids, pixel_values=pixels)
        return output.logits_per_image.tolist(), model.get_text_features(ids).pooler_output[:, :3].tolist()


def siglip_library(folder: Path) -> Any:
    """The tokenizer of `siglip_repository`, without padding."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def mobile_repository(folder: Path) -> list[Any]:
    """Files of a tiny MobileCLIP 2; open_clip's logits."""
    import json

    from safetensors.torch import load_file

    tiny.make_mobile_clip(folder)
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    side = config["vision_cfg"]["image_size"]
    model: Any = open_clip.CustomTextCLIP(
        **{name: value for name, value in config.items() if name != "custom_text"}
    ).eval()
    model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    transform: Any = open_clip.image_transform(
        side, False, (0, 0, 0), (1, 1, 1), resize_mode="shortest", interpolation="bilinear"
    )
    with torch.inference_mode():
        return model.get_logits(transform(scene())[None], token_ids(TEXTS, model.context_length))[0].tolist()


def metaclip2_repository(folder: Path) -> list[Any]:
    """Files of a tiny MetaCLIP 2; transformers' logits."""
    from transformers import CLIPImageProcessor, MetaClip2Model

    tiny.make_metaclip2(folder)
    model = MetaClip2Model.from_pretrained(folder).eval()
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=scene(), return_tensors="pt")
    with torch.inference_mode():
        return model(input_ids=token_ids(TEXTS), **pixels).logits_per_image.tolist()


def chinese_repository(folder: Path) -> list[Any]:
    """Files of a tiny Chinese-CLIP; transformers' probabilities of two texts."""
    from transformers import BertTokenizer, ChineseCLIPImageProcessor, ChineseCLIPModel

    tiny.make_chinese_clip(folder)
    model = ChineseCLIPModel.from_pretrained(folder).eval()
    words = BertTokenizer.from_pretrained(folder)(
        ["站立的羊", "躺着的羊。"], padding=True, return_tensors="pt"
    )
    pixels = ChineseCLIPImageProcessor.from_pretrained(folder)(images=scene(), return_tensors="pt")
    with torch.inference_mode():
        return model(**words, **pixels).logits_per_image.softmax(-1).tolist()


def clip_ids(texts: Sequence[str]) -> torch.Tensor:
    """Ids of OpenAI's tokenizer."""
    return open_clip.get_tokenizer("ViT-B-32")(list(texts))


def groupvit_repository(folder: Path) -> list[Any]:
    """Files of a tiny GroupViT; transformers' logits of the centred square at 32 pixels."""
    from transformers import CLIPImageProcessorPil, GroupViTConfig

    from core.segmentation import groupvit

    config = GroupViTConfig(
        projection_dim=12, projection_intermediate_dim=20,
        text_config={**SMALL, "vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407},
        vision_config={
            "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "depths": [1, 1, 1],
            "num_group_tokens": [6, 3, 0], "num_output_groups": [6, 3, 3], "num_attention_heads": 2, "image_size": SIDE,
            "patch_size": 8, "assign_mlp_ratio": [0.5, 2],
        },
    )  # fmt: skip
    torch.manual_seed(0)
    model = groupvit.build(config.to_dict()).eval()
    model.save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    pixels = torch.as_tensor(np.array(processor(images=scene())["pixel_values"]))
    with torch.inference_mode():
        return model(input_ids=clip_ids(TEXTS), pixel_values=pixels).logits_per_image.tolist()


def tips_repository(folder: Path) -> tuple[list[Any], list[Any]]:
    """Files of a tiny TIPSv2; transformers' logits, and the features of the texts."""
    from transformers import Tipsv2ImageProcessor, Tipsv2Tokenizer

    model = tiny.make_tips(folder)
    size = model.config.vision_config.image_size
    pixels = Tipsv2ImageProcessor(size={"height": size, "width": size})(images=scene(), return_tensors="pt")
    words = Tipsv2Tokenizer.from_pretrained(folder)(list(TEXTS), padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model(**words, **pixels)
        return output.logits_per_image.tolist(), output.text_embeds[:, :3].tolist()


CONCEPTS = ("a red cat", "a photo of a horse")


def sam3_repository(folder: Path) -> list[list[float]]:
    """Files of a tiny SAM 3; the instances that transformers finds of two concepts, score first."""
    from transformers import Sam3ImageProcessor

    model, found = tiny.make_sam3(folder), []
    side = model.config.image_size
    processor = Sam3ImageProcessor(size={"height": side, "width": side})
    pixels = processor(images=scene(), return_tensors="pt")["pixel_values"]
    for ids in open_clip.get_tokenizer("ViT-B-32", context_length=32)(list(CONCEPTS)):
        with torch.inference_mode():
            output = model(pixel_values=pixels, input_ids=ids[None], attention_mask=(ids > 0).long()[None])
        (made,) = processor.post_process_instance_segmentation(output, 0.5, target_sizes=[scene().size[::-1]])
        found.append(torch.cat([made["scores"][:, None], made["boxes"]], 1))
    return torch.cat(found).tolist()


DINO_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "red", "dog", "cat"]
DINO_TEXT = "a red dog. a cat."


def dino_repository(folder: Path) -> list[list[float]]:
    """Files of a tiny Grounding DINO; the three surest boxes that transformers finds for `DINO_TEXT`."""
    import transformers

    model = tiny.make_dino(folder, DINO_WORDS)
    processor = transformers.GroundingDinoImageProcessorPil(size={"shortest_edge": 80, "longest_edge": 133})
    image = scene()
    seen = {key: torch.as_tensor(np.array(value)) for key, value in processor(images=image).items()}
    ids = torch.tensor(
        [[DINO_WORDS.index(w) for w in ["[CLS]", "a", "red", "dog", ".", "a", "cat", ".", "[SEP]"]]]
    )
    with torch.inference_mode():
        output = model(**seen, input_ids=ids)
    size = [image.size[::-1]]
    (found,) = processor.post_process_object_detection(output, threshold=0.0, target_sizes=size)
    # The library also lets full stops and special tokens answer; a phrase has only its own words.
    own = output.logits[0, :, [1, 2, 3, 5, 6]].sigmoid().amax(1)
    edges = torch.tensor([*image.size, *image.size])
    corners = torch.minimum(found["boxes"].clamp(min=0), edges)
    best = own.argsort(descending=True)[:3]
    return torch.cat([own[best, None], corners[best]], 1).tolist()


OMDET_LABELS = ("a red dog", "cat")


def omdet_repository(folder: Path) -> list[list[float]]:
    """Files of a tiny OmDet-Turbo; the three surest boxes that transformers finds for `OMDET_LABELS`."""
    import transformers

    model = tiny.make_omdet(folder)
    image = scene()
    processor = transformers.DetrImageProcessor.from_pretrained(folder)
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    given = {}
    for name, texts in (("classes", list(OMDET_LABELS)), ("tasks", [f"Detect {', '.join(OMDET_LABELS)}."])):
        ids = clip_ids(texts)
        given[f"{name}_input_ids"], given[f"{name}_attention_mask"] = ids, (ids > 0).long()
    with torch.inference_mode():
        output = model(pixel_values=pixels, classes_structure=torch.tensor([len(OMDET_LABELS)]), **given)
    ready = transformers.OmDetTurboProcessor.post_process_grounded_object_detection
    (found,) = ready(
        SimpleNamespace(), output, list(OMDET_LABELS), threshold=0.0, target_sizes=[image.size[::-1]]
    )
    best = found["scores"].argsort(descending=True)[:3]
    return torch.cat([found["scores"][best, None], found["boxes"][best]], 1).tolist()


def vilt_repository(folder: Path, kind: str) -> Any:
    """Files of a tiny ViLT with one head; transformers' first logits, and its answer or its word in place 4."""
    import transformers
    from transformers import BertTokenizer, ViltConfig, ViltImageProcessor

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "how", "many", "?", "cats", "of", "."]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(names))
    config = ViltConfig(
        vocab_size=len(names), max_position_embeddings=16, **SMALL, image_size=64, patch_size=32,
        id2label={0: "one", 1: "two", 2: "three", 3: "four"}, max_image_length=-1,
    )  # fmt: skip
    task = {"answer": "ViltForQuestionAnswering", "fill": "ViltForMaskedLM"}[kind]
    model = spread(getattr(transformers, task)(config))
    model.save_pretrained(folder)
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("position_ids")}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    text = "how many cats?" if kind == "answer" else "a dog of [MASK]."
    words = BertTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    seen = ViltImageProcessor()(images=scene(), return_tensors="pt")
    with torch.inference_mode():
        logits = model(**words, pixel_values=seen["pixel_values"], pixel_mask=seen["pixel_mask"]).logits[0]
    if kind == "answer":
        return [logits[:3].tolist()], [config.id2label[int(logits.argmax())]]
    return [logits[0, :3].tolist()], [names[int(logits[4].argmax())]]


def xclip_repository(folder: Path) -> list[Any]:
    """Files of a tiny X-CLIP; transformers' logits of a clip of four equal frames."""
    from transformers import CLIPImageProcessor, XCLIPConfig, XCLIPModel

    config = XCLIPConfig(
        text_config={**SMALL, "vocab_size": 49408, "max_position_embeddings": 77},
        vision_config={
            **SMALL, "image_size": SIDE, "patch_size": 16, "num_frames": 4, "mit_hidden_size": 16,
            "mit_intermediate_size": 32, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2,
        },
        projection_dim=16, prompt_num_attention_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = XCLIPModel(config).eval()
    model.save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor.save_pretrained(folder)
    pixels = processor(images=[scene()] * 4, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return model(input_ids=clip_ids(TEXTS), pixel_values=pixels[None]).logits_per_video.tolist()


def depth_repository(folder: Path) -> list[Any]:
    """Files of a tiny Depth Anything; the corner of transformers' map."""
    import transformers

    backbone = {
        "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "mlp_ratio": 2,
        "image_size": 28, "patch_size": 14, "out_features": ["stage1", "stage2", "stage3", "stage4"],
        "reshape_hidden_states": False, "apply_layernorm": True,
    }  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8] * 4, fusion_hidden_size=8,
        head_hidden_size=8, patch_size=14,
    )  # fmt: skip
    model = spread(transformers.DepthAnythingForDepthEstimation(config))
    model.save_pretrained(folder)
    processor = transformers.DPTImageProcessorPil(
        size={"height": 28, "width": 28}, keep_aspect_ratio=True, ensure_multiple_of=14, resample=3,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    processor.save_pretrained(folder)
    with torch.inference_mode():
        pixels = torch.as_tensor(np.array(processor(images=scene())["pixel_values"]))
        return model(pixels).predicted_depth[0, :3, :3].tolist()


def blip_repository(folder: Path) -> list[str]:
    """Files of a tiny BLIP; what transformers writes, the likeliest word each time."""
    from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessor

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "is", "this", "?", "a", "dog", "two"]
    config = BlipConfig(
        text_config={
            **SMALL, "vocab_size": len(names), "encoder_hidden_size": 32, "bos_token_id": 2, "eos_token_id": 3,
            "sep_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 24,
        },
        vision_config={**SMALL, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )  # fmt: skip
    model = spread(BlipForQuestionAnswering(config), 0.3)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(names))
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    words = BertTokenizer.from_pretrained(folder)("what is this?", return_tensors="pt")
    pixels = BlipImageProcessor.from_pretrained(folder)(images=scene(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        written = model.generate(words["input_ids"], pixels, words["attention_mask"])
    return [BertTokenizer.from_pretrained(folder).decode(written[0], skip_special_tokens=True).strip()]
