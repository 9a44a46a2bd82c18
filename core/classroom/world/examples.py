"""The example images of the CLIP page and the Classroom page, composed by hand: `python -m core.classroom examples`."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.classroom.world.captions import Writer
from core.classroom.world.concepts import ASSETS, concepts, find
from core.classroom.world.placing import Placed, arrange
from core.classroom.world.scenes import Scenes, render

OUT = ASSETS / "examples" / "clip"
DESCRIBED = ASSETS / "examples" / "classroom"
SIZE = 320
SUFFIX = ".webp"


@dataclass(frozen=True)
class Example:
    """One picture: what is where, and labels worth asking about it (English, Chinese)."""

    name: str
    objects: tuple[Placed, ...]
    background: str
    rendering: str
    labels_en: str
    labels_zh: str
    caption_en: str = ""  # where the grammar's own caption would miss the point
    caption_zh: str = ""
    seed: int = 0


def _at(name: str, x: float, y: float, half: float, **more: Any) -> Placed:
    concept = find(name)
    assert concept is not None, name
    return Placed(concept.index, x, y, half, **more)


EXAMPLES = (
    Example(
        "red_envelope", (_at("red envelope", 0, 0, 0.78, style="noto", angle=-6),), "white", "colour",
        "money, new year, red, envelope, red envelope, China", "钱, 新年, 红色, 信封, 红包, 中国",
    ),
    Example(
        "sheep_eating", (_at("sheep", 0.02, 0.22, 0.68, style="fluent-emoji-flat", pose="eating"),), "grass",
        "colour",
        "a sheep standing, a sheep eating grass, a sheep lying down", "站立的羊, 进食的羊, 躺着的羊",
    ),
    Example(
        "dog_under_tree",
        (_at("tree", -0.05, -0.12, 0.84, style="noto", depth=0.6),
         _at("dog", 0.12, 0.62, 0.34, style="twemoji", depth=0.3)),
        "grass", "colour", "a dog under a tree, a cat under a tree, a dog above a tree, a house",
        "树下面的狗, 树下面的猫, 树上面的狗, 房子",
        "a dog under a tree", "树下面的狗",
    ),
    Example(
        "cat_left_of_car", (_at("cat", -0.5, 0.1, 0.42, style="twemoji"), _at("car", 0.5, 0.12, 0.44, style="noto")),
        "orange", "colour",
        "a cat to the left of a car, a car to the left of a cat, a dog and a car, a cat",
        "猫在汽车的左边, 汽车在猫的左边, 狗和汽车, 猫", seed=4,
    ),
    Example(
        "flock",
        (_at("sheep", -0.5, -0.42, 0.38, style="twemoji"),
         _at("sheep", 0.5, -0.4, 0.38, style="fluent-emoji", pose="eating"),
         _at("sheep", -0.46, 0.5, 0.42, style="noto", pose="lying"),
          _at("sheep", 0.5, 0.5, 0.42, style="fluent-emoji-flat", flip=True)),
        "grass", "colour", "a sheep drinking, a sheep eating, a sheep lying down, a sheep standing",
        "喝水的羊, 吃饭的羊, 躺着的羊, 站着的羊",
    ),
    Example(
        "airplane_drawing", (_at("airplane", 0, 0, 0.8, style="symbola", angle=10),), "white", "line",
        "an airplane, a bird, a car, a rocket", "飞机, 鸟, 汽车, 火箭",
    ),
    Example(
        "horse_grey", (_at("horse", -0.48, 0.2, 0.44, style="noto"), _at("house", 0.48, 0.05, 0.46, style="twemoji")), "grass",
        "grey",
        "a horse left of a house, a house left of a horse, a camel, a castle",
        "房子左边的马, 马左边的房子, 骆驼, 城堡",
    ),
    Example(
        "toys", (_at("duck", -0.45, 0.42, 0.4, style="noto"), _at("teddy bear", 0.45, 0.4, 0.44, style="fluent-emoji"),
                 _at("balloon", 0.02, -0.48, 0.38, style="twemoji")), "pink", "colour",
        "a duck, a teddy bear, a balloon, a chair, a toy", "鸭子, 泰迪熊, 气球, 椅子, 玩具",
    ),
    Example(
        "medicine", (_at("syringe", -0.5, -0.42, 0.4, style="twemoji"), _at("syringe", 0.5, -0.42, 0.4, style="noto"),
                     _at("test tube", -0.46, 0.48, 0.4, style="noto"),
                      _at("pill", 0.48, 0.48, 0.36, style="fluent-emoji")), "white", "colour",
        "two syringes and a test tube, a pill, a thermometer, a toothbrush",
        "两个注射器和一个试管, 药丸, 温度计, 牙刷",
        "two syringes, a test tube and a pill", "两个注射器、一个试管和一个药丸",
    ),
)  # fmt: skip


def draw(example: Example, size: int = SIZE) -> Scenes:
    """The example as a scene of one, at this size."""
    from core.classroom.world.atlas import open_atlas

    spec = arrange(
        example.objects, background=example.background, rendering=example.rendering, seed=example.seed
    )
    if example.rendering != "colour":
        spec.stroke[0] = spec.stroke.new_tensor([3.2, 0.98, 0.98, 0.97, 0.1, 0.1, 0.12, 0.0])
    return render(spec, open_atlas(), size)


def truth(example: Example, scenes: Scenes) -> dict[str, Any]:
    """What is exactly known about it: captions, boxes in pixels, depth, order, spec."""
    writer = Writer(scenes.spec)
    amodal, visible = scenes.boxes()[0].tolist(), scenes.boxes(visible=True)[0].tolist()
    slots = [j for j, here in enumerate(scenes.spec.present[0].tolist()) if here]
    return {
        "file": f"{example.name}{SUFFIX}",
        "caption": {
            "en": example.caption_en or writer.content(0, "en").text,
            "zh": example.caption_zh or writer.content(0, "zh").text,
        },
        "labels": {"en": example.labels_en, "zh": example.labels_zh},
        "size": scenes.picture.shape[-1],
        "background": example.background,
        "rendering": example.rendering,
        "seed": example.seed,
        "objects": [
            {
                "code": concepts()[int(scenes.spec.concept[0, j])].code,
                "en": concepts()[int(scenes.spec.concept[0, j])].en,
                "zh": concepts()[int(scenes.spec.concept[0, j])].zh,
                "box": amodal[j],
                "visible_box": visible[j],
                "depth": round(float(scenes.spec.depth[0, j]), 3),
            }
            for j in slots
        ],
        "spec": [{k: v for k, v in asdict(o).items() if v is not None} for o in example.objects],
    }


def keep(picture: NDArray[np.uint8], folder: Path, name: str) -> Path:
    """Writes an image [H, W, 3] with every pixel as it is; lossless WebP takes three quarters of a PNG's bytes."""
    path = folder / f"{name}{SUFFIX}"
    Image.fromarray(picture).save(path, lossless=True, quality=100, method=4)
    return path


def write(out: Path = OUT) -> list[Path]:
    """Draw all examples into the folder, with `examples.json`; returns the images."""
    out.mkdir(parents=True, exist_ok=True)
    rows, files = [], []
    for example in EXAMPLES:
        scenes = draw(example)
        pixels = (scenes.picture[0].permute(1, 2, 0) * 255).round().byte().numpy()
        files.append(keep(pixels, out, example.name))
        rows.append(truth(example, scenes))
    (out / "examples.json").write_text(
        json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    return files


def write_described(out: Path = DESCRIBED) -> list[Path]:
    """Draw the scenes of `scenes.toml` into the folder, with their ground truth in `examples.json`."""
    from core.classroom.world import description

    out.mkdir(parents=True, exist_ok=True)
    rows, files = [], []
    for name, text in tomllib.loads((DESCRIBED / "scenes.toml").read_text(encoding="utf-8")).items():
        drawn = description.draw(description.parse(text))
        files.append(keep(drawn.picture, out, name))
        caption = {lang: texts[0] for lang, texts in drawn.truth["captions"].items()}
        rows.append({"file": files[-1].name, "scene": text, "caption": caption, "truth": drawn.truth})
    body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (out / "examples.json").write_text(f"[\n{body}\n]\n", encoding="utf-8")
    return files
