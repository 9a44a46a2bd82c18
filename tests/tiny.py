"""A dual encoder of a few thousand weights, made in milliseconds, as a bundled row of a registry of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = [
    "a",
    "photo",
    "of",
    "drawing",
    "dog",
    "cat",
    "red",
    "envelope",
    "money",
    "sheep",
    *"狗猫红包一张的照片",
]


def tokenizer() -> Tokenizer:
    """Words and Chinese characters; <eot> has the highest id, as the text tower's pooling wants it."""
    vocabulary = {word: i for i, word in enumerate(["<pad>", "<sot>", "<unk>", *WORDS, "<eot>"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Whitespace()]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<sot> $A <eot>", special_tokens=[("<sot>", 1), ("<eot>", len(vocabulary) - 1)]
    )
    return made


def make_bundle(folder: Path, seed: int = 0, image_size: int = 32) -> None:
    """Writes model.safetensors, open_clip_config.json and tokenizer.json with random weights."""
    made = tokenizer()
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": image_size,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 12,
            "vocab_size": made.get_vocab_size(),
            "width": 32,
            "heads": 2,
            "layers": 2,
        },
    }
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {"resize_mode": "shortest"}})
    )
    made.save(str(folder / "tokenizer.json"))


def make_chinese_clip(folder: Path, seed: int = 0) -> None:
    """Writes the files of a Chinese-CLIP row, a few thousand random weights and a vocabulary of a few characters."""
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"站立进食躺着的羊，。", "dog"]
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = ChineseCLIPConfig(
        text_config={**size, "vocab_size": len(words), "num_hidden_layers": 2},
        vision_config={**size, "num_hidden_layers": 3, "image_size": 64, "patch_size": 16},
        projection_dim=24,
    )
    torch.manual_seed(seed)
    model = ChineseCLIPModel(config).eval()
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    model.save_pretrained(folder)
    side = {"height": 64, "width": 64}
    ChineseCLIPImageProcessor(size=side, crop_size=side, do_center_crop=False).save_pretrained(folder)


def gemma_like() -> dict[str, object]:
    """A tokenizer.json in the published form of SigLIP 2's: BPE with bytes, which keeps capitals."""
    letters = [chr(code) for code in range(33, 127)] + list("躺着的羊立进食")
    vocabulary = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<mask>",
        "▁",
        *(f"<0x{i:02X}>" for i in range(256)),
        *letters,
    ]
    merges = [("d", "o"), ("do", "g"), ("▁", "dog"), ("D", "O")]
    vocabulary += ["".join(pair) for pair in merges]
    made = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(vocabulary)},
            merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"])
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return json.loads(made.to_str())


def make_siglip(folder: Path, seed: int = 0, image_size: int = 48) -> None:
    """Writes the files of a SigLIP 2 row, a few thousand random weights: names and settings as published."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokenizer = gemma_like()
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**size, "vocab_size": len(tokenizer["model"]["vocab"]), "max_position_embeddings": 64},  # type: ignore[index]
        vision_config={**size, "image_size": image_size, "patch_size": 16},
    )
    torch.manual_seed(seed)
    model = SiglipModel(config)
    for parameter in model.parameters():
        if parameter.numel() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.constant_(model.logit_scale, 2.0)
    torch.nn.init.constant_(model.logit_bias, -1.5)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    side = {"height": image_size, "width": image_size}
    SiglipImageProcessor(size=side, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(
        folder
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def atlas_fast_vit(num_classes: int, global_pool: str, **_: Any) -> Any:
    """timm's FastViT with the parts of MobileCLIP 2's, a few thousand weights; made by its name below."""
    from functools import partial

    from timm.models.fastvit import FastVit, RepConditionalPosEnc

    return FastVit(
        layers=(1, 1, 1, 2), embed_dims=(8, 16, 32, 64), mlp_ratios=(2, 2, 2, 2), lkc_use_act=True,
        se_downsamples=(False, False, True, True),
        pos_embs=(None, None, None, partial(RepConditionalPosEnc, spatial_shape=(7, 7))),
        token_mixers=("repmixer", "repmixer", "repmixer", "attention"), num_classes=num_classes, global_pool=global_pool,
    )  # fmt: skip


def make_mobile_clip(folder: Path, seed: int = 0) -> None:
    """Writes the files of a MobileCLIP 2 row with random weights."""
    from timm.models import is_model, register_model

    if not is_model("atlas_fast_vit"):
        register_model(atlas_fast_vit)
    made = tokenizer()
    config = {
        "embed_dim": 24,
        "vision_cfg": {
            "timm_model_name": "atlas_fast_vit", "timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": None,
            "timm_drop": 0.0, "image_size": 128,
        },
        "text_cfg": {
            "context_length": 12, "vocab_size": made.get_vocab_size(), "width": 32, "heads": 2, "layers": 2,
            "no_causal_mask": True,
        },
        "custom_text": True,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = open_clip.CustomTextCLIP(
        **{name: value for name, value in config.items() if name != "custom_text"}
    )
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(
                parameter, std=0.2 if name.startswith("text") else 2 / parameter[0].numel() ** 0.5
            )
        elif name.endswith("gamma"):  # what a block adds: a fresh FastViT adds almost nothing
            torch.nn.init.constant_(parameter, 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    preprocess = {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    made.save(str(folder / "tokenizer.json"))


def make_metaclip2(folder: Path, seed: int = 0) -> None:
    """Writes the files of a MetaCLIP 2 row with random weights: the names and settings as published, few words."""
    from transformers import CLIPImageProcessor, MetaClip2Config, MetaClip2Model

    made = tokenizer()
    end = made.get_vocab_size() - 1
    size = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "hidden_act": "gelu"}
    config = MetaClip2Config(
        text_config={
            **size, "vocab_size": end + 1, "num_hidden_layers": 2, "max_position_embeddings": 12, "eos_token_id": end,
            "bos_token_id": None, "pad_token_id": None,
        },
        vision_config={**size, "num_hidden_layers": 3, "image_size": 64, "patch_size": 16},
        projection_dim=24,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = MetaClip2Model(config).eval()
    for parameter in model.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    CLIPImageProcessor(
        size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}
    ).save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))


def make_tips(folder: Path, seed: int = 0) -> Any:
    """Writes the files of a TIPSv2 row, a few thousand random weights under the authors' names, and returns the model."""
    import io

    import sentencepiece
    from transformers import Tipsv2Config, Tipsv2Model

    vocabulary = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*WORDS, "a photo of many dogs", "a bad photo of a red cat", "itap of the sheep"]),
        model_writer=vocabulary, vocab_size=320, model_type="bpe", byte_fallback=True, character_coverage=1.0, pad_id=0,
        unk_id=1, bos_id=-1, eos_id=-1, normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    config = Tipsv2Config(
        text_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 320,
        },
        vision_config={
            "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 112, "patch_size": 14,
        },
        temperature_init_value=0.02,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = Tipsv2Model(config).eval()
    for name, parameter in model.named_parameters():
        if name == "text_model.embeddings.token_embedding.weight":
            torch.nn.init.normal_(parameter)
        elif parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    # The published files have no temperature, call the vision tower's layers fc1 and fc2, and keep older settings too.
    state = load_file(folder / "model.safetensors")
    state = {
        name.replace("c_fc", "fc1").replace("c_proj", "fc2") if name.startswith("vision") else name: value
        for name, value in state.items()
        if name != "temperature"
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    settings |= {
        "auto_map": {"AutoModel": "modeling_tips.TIPSv2Model"},
        "vision_fn": "vit_base",
        "temperature": 0.02,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.model").write_bytes(vocabulary.getvalue())
    return model


def make_sam3(folder: Path, seed: int = 0) -> Any:
    """Writes the files of a SAM 3 row, some ten thousand random weights named as the published ones, and returns its detector.

    Queries of the returned model score on both sides of one half.
    """
    from transformers import Sam3Config, Sam3Model

    small = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                **small, "model_type": "sam3_vit_model", "num_hidden_layers": 2, "image_size": 112, "patch_size": 14,
                "window_size": 4, "global_attn_indexes": [1], "pretrain_image_size": 56,
            },
            "fpn_hidden_size": 32, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={
            **small, "model_type": "clip_text_model", "vocab_size": 49408, "num_hidden_layers": 1, "projection_dim": 32,
            "max_position_embeddings": 32, "hidden_act": "gelu",
        },
        geometry_encoder_config={**small, "num_layers": 1}, detr_encoder_config={**small, "num_layers": 1},
        detr_decoder_config={**small, "num_layers": 1, "num_queries": 6},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, "num_upsampling_stages": 2},
    )  # fmt: skip
    torch.manual_seed(seed)
    model = Sam3Model(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    # What is there and what is not depends on the words, on both sides of one half.
    with torch.no_grad():
        model.text_projection.weight *= 4
        for name, parameter in model.named_parameters():
            if name.startswith(("dot_product_scoring", "detr_decoder.presence_head")) and parameter.ndim > 1:
                parameter *= 2
        for part in (model.dot_product_scoring.text_proj, model.dot_product_scoring.query_proj):
            part.bias += 0.8
    folder.mkdir(parents=True, exist_ok=True)
    # The published file is that of the video model: a detector, and a tracker beside it.
    state = {f"detector_model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    save_file(
        {**state, "tracker_neck.w": torch.ones(1)}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    settings = {"model_type": "sam3_video", "architectures": ["Sam3VideoModel"]}
    detector = {"detector_config": json.loads(config.to_json_string()), "tracker_config": {}}
    (folder / "config.json").write_text(json.dumps(settings | detector))
    return model


def make_dino(folder: Path, words: Sequence[str]) -> Any:
    """Writes the files of a Grounding DINO with this vocabulary, a few thousand random weights, and returns it."""
    import transformers

    body = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    config = transformers.GroundingDinoConfig(
        backbone_config=body, text_config=text, num_queries=12, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GroundingDinoForObjectDetection(config).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words))
    return model


def atlas_swin(**options: Any) -> Any:
    """timm's Swin of a few thousand weights, by its name below."""
    from timm.models.swin_transformer import _create_swin_transformer

    small = {
        "patch_size": 4,
        "window_size": 4,
        "embed_dim": 8,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 1, 2, 2),
    }
    return _create_swin_transformer(
        "swin_tiny_patch4_window7_224", **{**options, "pretrained": False}, **small
    )


def make_omdet(folder: Path) -> Any:
    """Writes the files of an OmDet-Turbo, a few thousand random weights with the settings as published, and returns it."""
    import transformers
    from timm.models import is_model, register_model

    if not is_model("atlas_swin"):
        register_model(atlas_swin)
    backbone = {"out_indices": [1, 2, 3], "img_size": 64, "always_partition": True}
    text = {
        "model_type": "clip_text_model", "vocab_size": 49408, "hidden_size": 32, "intermediate_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 77, "projection_dim": 32,
    }  # fmt: skip
    settings = {
        "text_config": text, "image_size": 64, "text_projection_in_dim": 32, "text_projection_out_dim": 32,
        "task_encoder_hidden_dim": 16, "class_embed_dim": 32, "num_queries": 12, "encoder_hidden_dim": 16,
        "vision_features_channels": [16, 16, 16], "encoder_in_channels": [16, 32, 64], "encoder_attention_heads": 2,
        "encoder_dim_feedforward": 32, "decoder_hidden_dim": 16, "decoder_num_heads": 2, "decoder_num_layers": 2,
        "decoder_dim_feedforward": 32,
    }  # fmt: skip
    config = transformers.OmDetTurboConfig(
        **settings, backbone_config={"model_type": "timm_backbone", "backbone": "atlas_swin", **backbone}
    )
    torch.manual_seed(0)
    model = transformers.OmDetTurboForObjectDetection(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    # The published file names the backbone in place of its configuration.
    (folder / "config.json").write_text(
        json.dumps({**settings, "model_type": "omdet-turbo", "backbone_config": None, "backbone": "atlas_swin",
                    "backbone_kwargs": backbone, "use_timm_backbone": True, "use_pretrained_backbone": False})
    )  # fmt: skip
    side = {"height": 64, "width": 64}
    transformers.DetrImageProcessor(size=side, do_pad=False).save_pretrained(folder)
    (folder / "vocab.json").write_text("{}")
    return model


def bundled(name: str, folder: Path) -> str:
    """Makes a bundle in a folder; its row."""
    make_bundle(folder / "bundle")
    return row(name, folder / "bundle")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of random pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def row(
    name: str, folder: Path, normalisation: str = "softmax", loader: str = "core.clip.encoders:load_open_clip"
) -> str:
    """The registry table of a bundle."""
    lines = [
        f"[{name}]",
        'paper = "clip"',
        'title = {en = "Tiny", zh = "微型"}',
        f'loader = "{loader}"',
        f'bundled = "{folder}"',
        'licence = "apache-2.0"',
        'licence_note = {en = "random weights", zh = "随机权重"}',
        'citation = "none"',
        'languages = ["en", "zh"]',
        f'normalisation = "{normalisation}"',
        'knows = {en = "nothing", zh = "无"}',
        'lacks = {en = "everything", zh = "一切"}',
    ]
    for path in sorted(folder.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines += [f"[[{name}.files]]", f'path = "{path.name}"', f'sha256 = "{digest}"']
    return "\n".join(lines) + "\n"
