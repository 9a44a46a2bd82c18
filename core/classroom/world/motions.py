"""What moves how, and how it is told: the motions of clips in English and Chinese, with the direction that is opposite."""

from __future__ import annotations

import random

from core.classroom.world.captions import Caption
from core.classroom.world.concepts import concepts
from core.classroom.world.factors import FACTORS, values
from core.classroom.world.specs import Spec
from core.classroom.world.wording import grounded, phrase

# Motion -> the label of the action, and sentences; {a} moves, {b} stays where it is. Sentences of opposite motions at the same
# place of their lists differ in the direction alone.
ACTIONS: dict[str, tuple[str, str]] = {
    "left": ("moving left", "向左移动"),
    "right": ("moving right", "向右移动"),
    "up": ("moving up", "向上移动"),
    "down": ("moving down", "向下移动"),
    "grow": ("growing", "变大"),
    "shrink": ("shrinking", "变小"),
    "clockwise": ("turning clockwise", "顺时针旋转"),
    "counterclockwise": ("turning counterclockwise", "逆时针旋转"),
    "shake": ("shaking", "抖动"),
    "jump": ("jumping", "跳跃"),
    "fall": ("falling", "坠落"),
    "orbit": ("circling around something", "绕着东西转圈"),
    "appear": ("appearing", "出现"),
    "vanish": ("vanishing", "消失"),
    "behind": ("passing behind something", "从东西后面经过"),
}
MOTIONS = tuple(ACTIONS)
OPPOSITES = {
    "left": "right",
    "up": "down",
    "grow": "shrink",
    "clockwise": "counterclockwise",
    "appear": "vanish",
}
OPPOSITES |= {second: first for first, second in OPPOSITES.items()}
WITH_OTHER = ("orbit", "behind")  # motions that need a second thing

SENTENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "left": {
        "en": ("{a} moving from right to left", "{a} moving left", "{a} going from the right to the left"),
        "zh": ("{a}从右向左移动", "{a}向左移动", "{a}从右边到左边去"),
    },
    "right": {
        "en": ("{a} moving from left to right", "{a} moving right", "{a} going from the left to the right"),
        "zh": ("{a}从左向右移动", "{a}向右移动", "{a}从左边到右边去"),
    },
    "up": {
        "en": ("{a} moving from the bottom to the top", "{a} moving up", "{a} going up"),
        "zh": ("{a}从下向上移动", "{a}向上移动", "{a}往上去"),
    },
    "down": {
        "en": ("{a} moving from the top to the bottom", "{a} moving down", "{a} going down"),
        "zh": ("{a}从上向下移动", "{a}向下移动", "{a}往下去"),
    },
    "grow": {
        "en": ("{a} growing larger", "{a} getting bigger", "{a} coming closer"),
        "zh": ("{a}越来越大", "{a}在变大", "{a}越来越近"),
    },
    "shrink": {
        "en": ("{a} growing smaller", "{a} getting smaller", "{a} going away"),
        "zh": ("{a}越来越小", "{a}在变小", "{a}越来越远"),
    },
    "clockwise": {
        "en": ("{a} turning clockwise", "{a} spinning clockwise", "{a} rotating clockwise"),
        "zh": ("{a}顺时针旋转", "{a}顺时针转动", "{a}沿顺时针方向转"),
    },
    "counterclockwise": {
        "en": (
            "{a} turning counterclockwise",
            "{a} spinning counterclockwise",
            "{a} rotating counterclockwise",
        ),
        "zh": ("{a}逆时针旋转", "{a}逆时针转动", "{a}沿逆时针方向转"),
    },
    "shake": {
        "en": ("{a} shaking", "{a} trembling", "{a} shaking from side to side"),
        "zh": ("{a}在抖动", "{a}在颤抖", "{a}左右摇晃"),
    },
    "jump": {
        "en": ("{a} jumping", "{a} jumping up and landing again", "{a} hopping"),
        "zh": ("{a}在跳跃", "{a}跳起来又落下", "{a}蹦跳"),
    },
    "fall": {
        "en": ("{a} falling down", "{a} falling to the ground", "{a} tumbling down"),
        "zh": ("{a}掉下来", "{a}坠落到地上", "{a}翻滚着落下"),
    },
    "orbit": {
        "en": ("{a} circling around {b}", "{a} moving in a circle around {b}"),
        "zh": ("{a}绕着{b}转圈", "{a}围着{b}转"),
    },
    "appear": {
        "en": ("{a} appearing", "{a} suddenly there", "{a} coming into view"),
        "zh": ("{a}出现了", "{a}突然出现", "{a}显现出来"),
    },
    "vanish": {
        "en": ("{a} vanishing", "{a} suddenly gone", "{a} going out of view"),
        "zh": ("{a}消失了", "{a}突然消失", "{a}隐没不见"),
    },
    "behind": {
        "en": ("{a} passing behind {b}", "{a} moving along behind {b}"),
        "zh": ("{a}从{b}后面经过", "{a}从{b}背后移过"),
    },
}


class ClipWriter:
    """Writes captions for clips. Every caption is true of its clip; a swapped one, where the direction is the opposite, is false.

    Args:
        scene: the clips' scenes; the thing of slot 0 moves.
        motion: index into `MOTIONS` of each clip.
    """

    def __init__(self, scene: Spec, motion: list[int]) -> None:
        self.motion = [MOTIONS[i] for i in motion]
        self.concept = scene.concept.tolist()
        self.number = scene.count.tolist()
        self.ground = values(scene)[:, list(FACTORS).index("ground")].tolist()

    def __len__(self) -> int:
        return len(self.motion)

    def content(self, i: int, lang: str) -> Caption:
        """What is there and where, without the motion: "a dog and a tree on grass"."""
        things = self._names(i, lang)
        return Caption(self._grounded(i, ("和" if lang == "zh" else " and ").join(things), lang))

    def order(self, i: int, lang: str, form: int = 0) -> Caption:
        """Who moves how: "a dog moving from left to right"; swapped tells the opposite direction, where there is one."""
        motion = self.motion[i]
        text = self._told(i, motion, lang, form)
        swapped = self._told(i, OPPOSITES[motion], lang, form) if motion in OPPOSITES else None
        return Caption(text, swapped)

    def whole(self, i: int, lang: str, form: int = 0) -> Caption:
        """Who moves how, and where: "a dog moving from left to right on grass"."""
        told = self.order(i, lang, form)
        swapped = None if told.swapped is None else self._grounded(i, told.swapped, lang)
        return Caption(self._grounded(i, told.text, lang), swapped)

    def write(self, i: int, lang: str, rng: random.Random) -> Caption:
        """One of the true captions, chosen by rng."""
        form = rng.randrange(6)
        return rng.choice(
            (
                lambda: self.content(i, lang),
                lambda: self.order(i, lang, form),
                lambda: self.whole(i, lang, form),
            )
        )()

    def action(self, i: int, lang: str) -> str:
        """The label of the motion: "moving left"."""
        return ACTIONS[self.motion[i]][lang == "zh"]

    def _names(self, i: int, lang: str) -> list[str]:
        return [phrase(concepts()[c].name(lang), lang) for c in self.concept[i][: self.number[i]]]

    def _told(self, i: int, motion: str, lang: str, form: int) -> str:
        names, forms = self._names(i, lang), SENTENCES[motion][lang]
        return forms[form % len(forms)].format(a=names[0], b=names[-1])

    def _grounded(self, i: int, text: str, lang: str) -> str:
        ground = self.ground[i]
        return text if ground < 0 else grounded(FACTORS["ground"][ground], text, lang)
