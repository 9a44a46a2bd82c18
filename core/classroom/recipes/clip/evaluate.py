"""Measure a miniature CLIP on scenes never trained on: zero-shot, retrieval, relations, counts, and the notes' lessons.

    python -m core.classroom evaluate clip --checkpoint classroom-rn [--sprites DIR] [--json] [--record]

Evaluation seeds are below 2**20, training seeds start at 2**32; pairs of concepts are those that training scenes leave
out (`specs.new_pair`). Single objects are giant, close or middle-sized unless a row says far, with 0.4 of the
augmentation that training uses. Names are asked in the templates of `captions`, their features averaged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from core import inputs
from core.classroom.recipes.common.miniature import Miniature, open_miniature
from core.classroom.recipes.common.rows import stamped
from core.classroom.world.atlas import POSES, SHEEP, Atlas, open_atlas
from core.classroom.world.captions import Writer
from core.classroom.world.concepts import ASSETS, by_code, concepts, find
from core.classroom.world.factors import FACTORS, sentence, values
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.scenes import compose, render
from core.classroom.world.specs import BACKGROUNDS, VIVID, SceneSettings, Spec, sample
from core.classroom.world.wording import LANGUAGES, LOOKS, POSE_WORDS, TEMPLATES, counted

_NEAR = (0.2, 0.45, 0.35, 0.0)
SINGLE = SceneSettings(
    kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), sizes=_NEAR, augment=0.4, poses=0.0, pairs="any"
)
PAIRS = SceneSettings(kinds=(0, 1, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.4, poses=0.0, pairs="new")


def wordings(look: str, lang: str) -> tuple[str, ...]:
    """The templates a rendering is asked in."""
    return TEMPLATES[lang] if look == "colour" else ("{}", *LOOKS[look][lang])


def topk(features: Tensor, names: Tensor, truth: Tensor, k: int) -> float:
    """Share of rows whose true column is among the k highest."""
    return float(((features @ names.T).topk(k, 1).indices == truth[:, None]).any(1).float().mean())


@dataclass(frozen=True)
class StyleResult:
    """Zero-shot among the concepts that a folder of foreign sprites draws."""

    folder: str
    concepts: int
    top1: dict[str, float]
    top5: dict[str, float]

    def line(self) -> str:
        return (
            f"style {self.folder}: {self.concepts} concepts, top-1 en {self.top1['en']:.3f} zh {self.top1['zh']:.3f}, "
            f"top-5 en {self.top5['en']:.3f} zh {self.top5['zh']:.3f}"
        )

    def rows(self, checkpoint: str) -> list[dict[str, Any]]:
        """As rows of the report card."""
        name = Path(self.folder).name
        split = f"{name}, {self.concepts} concepts"
        command = (
            f"python -m core.classroom evaluate clip --checkpoint {Path(checkpoint).name} --sprites {name}"
        )
        values = [("top-1", self.top1), ("top-5", self.top5)]
        return [
            stamped(
                {
                    "measure": f"unseen style {k}",
                    "split": split,
                    "language": lang,
                    "value": round(v[lang], 4),
                    "unit": "share",
                },
                checkpoint,
                command,
            )
            for k, v in values
            for lang in LANGUAGES
        ]

    def row(self) -> dict[str, Any]:
        return {"style": self.folder, "concepts": self.concepts, "top1": self.top1, "top5": self.top5}


def style_result(
    model: Miniature, atlas: Atlas, name: str, per_concept: int = 3, look: str = "colour"
) -> StyleResult:
    """Single-object scenes of every sprite of an atlas, among all concepts of the classroom."""
    number = int(atlas.drawable().sum())
    settings = SceneSettings(
        kinds=(1, 0, 0, 0),
        looks=tuple(float(r == look) for r in RENDERINGS),
        sizes=_NEAR,
        augment=0.25,
        poses=0.0,
    )
    spec = _each(atlas, settings, 5000, per_concept)
    features = model.images(render(spec, atlas, model.size).picture)
    truth = spec.concept[:, 0]
    top1, top5 = {}, {}
    for lang in LANGUAGES:
        names = model.names(lang, wordings(look, lang))
        top1[lang], top5[lang] = topk(features, names, truth, 1), topk(features, names, truth, 5)
    return StyleResult(name, number, top1, top5)


def style(checkpoint: str, folder: Path) -> StyleResult:
    """Zero-shot on a folder of `<CODEPOINT>.png` RGBA sprites; unknown code points are left out."""
    from core.classroom.world import sprites

    drawings = dict(sprites.folder(folder))
    if not drawings:
        raise SystemExit(f"{folder} holds no <CODEPOINT>.png of a known concept")
    name = folder.name or str(folder)
    return style_result(open_miniature(checkpoint), Atlas({name: drawings}, {name: False}), str(folder))


def _each(atlas: Atlas, settings: SceneSettings, seed: int, per_concept: int) -> Spec:
    """Single scenes that show every drawable concept `per_concept` times, in one of its styles each."""
    pool = torch.nonzero(atlas.drawable())[:, 0].repeat(per_concept)
    spec = sample(len(pool), seed, atlas, settings)
    g = torch.Generator().manual_seed(seed)
    has = atlas.table[:, pool, 0].T >= 0  # [N, T]
    chosen = torch.where(has, torch.rand(has.shape, generator=g), 2.0).argmin(1)
    spec.concept[:, 0], spec.pose[:, 0] = pool, 0
    spec.sprite[:, 0] = atlas.table[chosen, pool, 0]
    return spec


def evaluate(checkpoint: str, quick: bool = False) -> list[dict[str, Any]]:
    """All measures as report-card rows. quick: one scene a concept instead of three."""
    model = open_miniature(checkpoint)
    atlas = open_atlas()
    rows: list[dict[str, Any]] = []

    def add(measure: str, split: str, language: str, value: float, unit: str = "share") -> None:
        rows.append(
            {
                "measure": measure,
                "split": split,
                "language": language,
                "value": round(float(value), 4),
                "unit": unit,
            }
        )

    zero_shot(model, atlas, add, 1 if quick else 3)
    factors(model, atlas, add)
    retrieval(model, atlas, add)
    relations(model, atlas, add)
    counts(model, atlas, add)
    red_envelope(model, atlas, add)
    absent(model, atlas, add)
    poses(model, atlas, add)
    photographs(model, add)
    add("patch-text mIoU, two objects", "new pairs", "en", patch_text(model, atlas))
    return [stamped(row, checkpoint) for row in rows]


def zero_shot(model: Miniature, atlas: Atlas, add: Any, per_concept: int) -> None:
    """Top-1 and top-5 over all concepts by rendering, plus far objects, one-colour drawings, and confusions."""
    mono = torch.unique(atlas.style[atlas.mono])
    for look in (*RENDERINGS, "far", "one-colour"):
        base = look if look in RENDERINGS else "colour"
        settings = SceneSettings(
            kinds=(1, 0, 0, 0), looks=tuple(float(r == base) for r in RENDERINGS), poses=0.0, augment=0.4,
            sizes=(0, 0, 0, 1) if look == "far" else _NEAR,
        )  # fmt: skip
        spec = _each(atlas, settings, 1000 + len(look), per_concept)
        if look == "one-colour":
            table = atlas.table[mono, :, 0][:, spec.concept[:, 0]]  # [styles, N]
            spec.sprite[:, 0] = torch.where(table >= 0, table, -1).amax(0)
            spec = spec.take(torch.nonzero(spec.sprite[:, 0] >= 0)[:, 0])
        elif look == "colour":
            spec = spec.take(torch.nonzero(~atlas.mono[spec.sprite[:, 0]])[:, 0])
        features = model.images(render(spec, atlas, model.size).picture)
        truth = spec.concept[:, 0]
        for lang in LANGUAGES:
            names = model.names(lang, wordings("line" if look == "one-colour" else base, lang))
            add("zero-shot top-1", look, lang, topk(features, names, truth, 1))
            add("zero-shot top-5", look, lang, topk(features, names, truth, 5))
            if look == "colour":
                guess = (features @ names.T).argmax(1)
                wrong = Counter((int(a), int(b)) for a, b in zip(truth, guess, strict=True) if a != b)
                for (a, b), n in wrong.most_common(5):
                    pair = f"{concepts()[a].name(lang)} > {concepts()[b].name(lang)}"
                    add("confusion", pair, lang, n, "times")


# Every seventh concept, so that each is asked about several scenes and its sentences are encoded once.
_FEW = SceneSettings(**{**SINGLE.__dict__, "concepts": tuple(range(0, len(concepts()), 7))})
_FACTOR_SCENES = {
    "ground": SceneSettings(**{**_FEW.__dict__, "sizes": (0, 0.5, 0.5, 0)}),
    "place": SceneSettings(**{**_FEW.__dict__, "sizes": (0, 0.2, 0.4, 0.4)}),
    "size": SceneSettings(**{**_FEW.__dict__, "sizes": (1, 1, 1, 1)}),
    "rendering": SceneSettings(**{**_FEW.__dict__, "looks": (1, 1, 1, 1, 1, 1)}),
    "number": SceneSettings(**{**_FEW.__dict__, "kinds": (1, 0, 3, 0)}),
}
_PLAIN = torch.tensor([shape == "plain" and n not in VIVID for n, (shape, _, _) in BACKGROUNDS.items()])


def factors(model: Miniature, atlas: Atlas, add: Any, count: int = 960) -> None:
    """Grounds, places, sizes, renderings and numbers: which of the sentences about this thing is true of the image?

    Every value counts alike, however many of the `count` scenes show it. For grounds the thing is in the middle.
    """
    for column, (factor, names) in enumerate(FACTORS.items()):
        spec = sample(count, 10_000 + column, atlas, _FACTOR_SCENES[factor])
        if factor == "ground":
            spec.x[:, 0], spec.y[:, 0] = 0, 0
        truth = values(spec, atlas.mono)[:, column]
        spec, truth = spec.take(truth >= 0), truth[truth >= 0]
        image = model.images(render(spec, atlas, model.size).picture)
        shown, which = spec.concept[:, 0].unique(return_inverse=True)
        for lang in LANGUAGES:
            texts = torch.stack([_sentences(model, int(c), factor, lang) for c in shown])  # [C, V, D]
            cosines = torch.einsum("nd,nvd->nv", image, texts[which])
            add("factor", f"{factor} of {len(names)}", lang, _mean_recall(cosines, truth))
            if factor == "ground":
                rows = _PLAIN[truth]
                among = cosines[rows].masked_fill(~_PLAIN, -2)
                split = f"{factor} of {int(_PLAIN.sum())} plain colours"
                add("factor", split, lang, _mean_recall(among, truth[rows]))


def _sentences(model: Miniature, concept: int, factor: str, lang: str) -> Tensor:
    """Features [V, D] of the sentences about a concept that name the values of a factor, the mean of two wordings."""
    lines = [
        sentence(concepts()[concept], {factor: value}, lang, form)
        for form in range(2)
        for value in range(len(FACTORS[factor]))
    ]
    return F.normalize(model.texts(lines).unflatten(0, (2, -1)).mean(0), dim=-1)


def _mean_recall(scores: Tensor, truth: Tensor) -> float:
    """Share of rows [N, V] whose highest score is the true value's, by value [N], then the mean over values."""
    hit = (scores.argmax(1) == truth).float()
    return float(torch.stack([hit[truth == value].mean() for value in truth.unique()]).mean())


def retrieval(model: Miniature, atlas: Atlas, add: Any) -> None:
    """Captions among 256 two-object scenes of new pairs, both ways."""
    scenes = compose(2000, 256, PAIRS, size=model.size, atlas=atlas)
    image, writer = model.images(scenes.picture), Writer(scenes.spec)
    right = torch.arange(256)
    for lang in LANGUAGES:
        text = model.texts([writer.content(i, lang).text for i in range(256)])
        for k in (1, 5):
            add(f"caption to image R@{k}", "256 new pairs", lang, topk(text, image, right, k))
            add(f"image to caption R@{k}", "256 new pairs", lang, topk(image, text, right, k))


def relations(model: Miniature, atlas: Atlas, add: Any) -> None:
    """Two-choice: the relation told right against the same sentence with its objects swapped."""
    for n, name in enumerate(("left/right", "above/below", "front/behind")):
        settings = SceneSettings(**{**PAIRS.__dict__, "axes": tuple(float(i == n) for i in range(3))})
        scenes = compose(3000 + n, 256, settings, size=model.size, atlas=atlas)
        image, writer = model.images(scenes.picture), Writer(scenes.spec)
        for lang in LANGUAGES:
            right = []
            for form in range(2):
                said = [writer.relation_of(i, lang, form) for i in range(256)]
                true, false = (
                    model.texts([c.text for c in said]),
                    model.texts([c.swapped or "" for c in said]),
                )
                right.append(((image * true).sum(1) > (image * false).sum(1)).float().mean())
            add("relation two-choice", name, lang, torch.stack(right).mean())


def counts(model: Miniature, atlas: Atlas, add: Any) -> None:
    """Two, three or four of a kind, the kind given (chance 0.33)."""
    settings = SceneSettings(
        kinds=(0, 0, 1, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.4, poses=0.0, pairs="any"
    )
    scenes = compose(4000, 240, settings, size=model.size, atlas=atlas)
    image, number = model.images(scenes.picture), scenes.spec.count
    for lang in LANGUAGES:
        cosines = []
        for n in (2, 3, 4):
            lines = [counted(concepts()[int(c)], n, lang) for c in scenes.spec.concept[:, 0]]
            cosines.append((image * model.texts(lines)).sum(1))
        add(
            "count 2, 3 or 4",
            "flocks",
            lang,
            (torch.stack(cosines, 1).argmax(1) + 2 == number).float().mean(),
        )


_ENVELOPE = {
    "en": (
        ["red envelope", "money", "new year", "red", "envelope", "China"],
        ["airplane", "dog", "car", "bird"],
    ),
    "zh": (["红包", "钱", "新年", "红色", "信封", "中国"], ["飞机", "狗", "汽车", "鸟"]),
}


def red_envelope(model: Miniature, atlas: Atlas, add: Any) -> None:
    """The lecture's experiment: probability of the right label, associations against absent labels by cosine."""
    concept = find("red envelope")
    assert concept is not None
    settings = SceneSettings(**{**SINGLE.__dict__, "concepts": (concept.index,)})
    spec = sample(48, 6000, atlas, settings)
    spec = spec.take(torch.nonzero(~atlas.mono[spec.sprite[:, 0]])[:, 0])
    image = model.images(render(spec, atlas, model.size).picture)
    for lang in LANGUAGES:
        present, missing = _ENVELOPE[lang]
        cosines = image @ model.texts(present + missing).T
        p = (model.scale * cosines[:, : len(present)]).softmax(1).mean(0)
        for word, value in zip(present, p, strict=True):
            add("red envelope probability", word, lang, value)
        mean = cosines.mean(0)
        worst = mean[len(present) :].max()
        add(
            "money, new year, China above every absent label",
            "mean cosine",
            lang,
            float((mean[[1, 2, 5]] > worst).all()),
            "yes = 1",
        )
        each = (cosines[:, [1, 2, 5]].amin(1) > cosines[:, len(present) :].amax(1)).float().mean()
        add("money, new year, China above every absent label", "per image", lang, each)
        q = (model.scale * cosines[:, len(present) :]).softmax(1).amax(1)
        add("red envelope, answer absent: largest probability", "mean", lang, q.mean())


def absent(model: Miniature, atlas: Atlas, add: Any) -> None:
    """100 images, four labels none of which is there: is the softmax undecided, are the cosines under the line?

    The line is the page's: the 95th percentile of the picture's cosines with everyday words (core.clip.zero_shot).
    """
    from core.clip.zero_shot import ABSENCE_QUANTILE, background_words

    spec = sample(100, 7000, atlas, SINGLE)
    image = model.images(render(spec, atlas, model.size).picture)
    g = torch.Generator().manual_seed(7)
    for lang in LANGUAGES:
        names = model.texts([c.name(lang) for c in concepts()])
        words = model.texts(background_words(lang))
        line = torch.quantile(image @ words.T, ABSENCE_QUANTILE, dim=1)
        low, under, both = [], [], []
        for i, c in enumerate(spec.concept[:, 0].tolist()):
            near = {p for p, _ in concepts()[c].parents}
            others = [o.index for o in concepts() if o.index != c and not near & {p for p, _ in o.parents}]
            labels = torch.tensor(others)[torch.randperm(len(others), generator=g)[:4]]
            cosines = image[i] @ names[labels].T
            low.append(float((model.scale * cosines).softmax(0).max() < 0.6))
            under.append(float(cosines.max() < line[i]))
            both.append(low[-1] * under[-1])
        add("answer absent: largest probability under 0.6", "100 trials", lang, np.mean(low))
        add("answer absent: cosines under the none line", "100 trials", lang, np.mean(under))
        add("answer absent: both", "100 trials", lang, np.mean(both))


def poses(model: Miniature, atlas: Atlas, add: Any) -> None:
    """The notes' sheep: standing, eating or lying."""
    settings = SceneSettings(**{**SINGLE.__dict__, "concepts": (by_code()[SHEEP].index,), "poses": 1.0})
    scenes = compose(8000, 150, settings, size=model.size, atlas=atlas)
    image = model.images(scenes.picture)
    for lang in LANGUAGES:
        forms = [POSE_WORDS[p][lang] for p in POSES]
        lines = [f"{w[0]}羊" if lang == "zh" else f"a sheep {w[0]}" for w in forms]
        guess = (image @ model.texts(lines).T).argmax(1)
        add("sheep poses", "standing, eating, lying", lang, (guess == scenes.spec.pose[:, 0]).float().mean())


def photographs(model: Miniature, add: Any) -> None:
    """The hub's own photographs, each among the four labels of its example: what a miniature makes of the real world."""
    folder = ASSETS / "examples" / "photos"
    listed = json.loads((folder / "photos.json").read_text(encoding="utf-8"))
    pixels = torch.stack([_square(inputs.image(folder / row["file"]), model.size) for row in listed])
    image = model.images(pixels)
    for lang in LANGUAGES:
        correct = []
        for feature, row in zip(image, listed, strict=True):
            labels = inputs.labels(row["labels"][lang])
            best = int((model.texts(labels) @ feature).argmax())
            correct.append(float(labels[best] == row["answer"][lang]))
        add("photographs of this hub, top-1 of 4", f"{len(listed)} photographs", lang, np.mean(correct))


def _square(image: Image.Image, side: int) -> Tensor:
    """The middle square of an image as [3, side, side] in [0, 1], resized as the miniature's preprocessing does."""
    pixels = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(pixels, np.float32) / 255).permute(2, 0, 1)


def patch_text(model: Miniature, atlas: Atlas) -> float:
    """Which of the two objects, inside their visible masks: mean of both intersections over unions."""
    settings = SceneSettings(**{**PAIRS.__dict__, "axes": (1.0, 1.0, 0.0)})
    scenes = compose(9000, 128, settings, size=model.size, atlas=atlas)
    features = torch.cat([model.patches(p) for p in scenes.picture.split(32)])
    names = model.names("en", ("{}", "a picture of {}"))
    labels = names[scenes.spec.concept[:, :2]]  # [B, 2, D]
    cosines = torch.einsum("bhwd,bkd->bkhw", features, labels)
    guess = F.interpolate(
        cosines, size=(model.size, model.size), mode="bilinear", align_corners=False
    ).argmax(1)
    visible = scenes.visible[:, :2]
    inside = visible.any(1)
    ratios = []
    for k in range(2):
        said = (guess == k) & inside
        union = (said | visible[:, k]).flatten(1).sum(1)
        ratios.append((said & visible[:, k]).flatten(1).sum(1) / union.clamp(min=1))
    return float(torch.stack(ratios).mean())


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as aligned text, English and Chinese side by side."""
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        if row["measure"] != "confusion":
            cells.setdefault((row["measure"], row["split"]), {})[row["language"]] = row["value"]
    lines = [f"{'measure':52} {'split':26} {'en':>7} {'zh':>7}"]
    for (measure, split), row_values in cells.items():
        shown = " ".join(f"{row_values[lang]:7.3f}" if lang in row_values else " " * 7 for lang in LANGUAGES)
        lines.append(f"{measure:52} {split:26} {shown}")
    confused = [f"{r['split']} ({r['value']:.0f})" for r in rows if r["measure"] == "confusion"]
    if confused:
        lines.append("confused most: " + "; ".join(confused))
    return "\n".join(lines)
