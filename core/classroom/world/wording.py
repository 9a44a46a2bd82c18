"""The words of captions in English and Chinese: names as noun phrases, plurals, counts, and the wordings of the rest."""

from __future__ import annotations

import re

from core.classroom.world.concepts import Concept

LANGUAGES = ("en", "zh")

# English names that take no article: plural, uncountable or proper.
_BARE = frozenset(
    [
        "scissors",
        "glasses",
        "sunglasses",
        "jeans",
        "gloves",
        "socks",
        "headphones",
        "french fries",
        "noodles",
        "peanuts",
        "pancakes",
        "grapes",
        "cherries",
        "paw prints",
        "books",
        "skis",
        "scales",
        "chains",
        "masks",
        "crossed swords",
        "footprints",
        "popcorn",
        "rice",
        "spaghetti",
        "bread",
        "bacon",
        "honey",
        "milk",
        "coffee",
        "tea",
        "champagne",
        "wine",
        "beer",
        "money",
        "fire",
        "toilet paper",
        "thread",
        "yarn",
        "golf",
        "tennis",
        "badminton",
        "ping pong",
        "bowling",
        "billiards",
        "corn",
        "DNA",
        "earth",
        "soap",
        "biceps",
        "chopsticks",
        "fork and knife",
        "Santa Claus",
        "meat on bone",
        "broccoli",
        "sushi",
        "lightning",
        "dango",
        "lips",
        "mice",
        "cattle",
        "cutlery",
        "hongbao",
        "pasta",
        "meat",
        "fries",
        "swords",
        "medicine",
        "luggage",
        "dice",
        "trousers",
        "prawns",
        "table tennis",
        "lucky money envelope",
    ]
)
_PLURALS = {"sheep": "sheep", "mouse": "mice", "goose": "geese", "wolf": "wolves", "tooth": "teeth", "knife": "knives",
            "deer": "deer", "shrimp": "shrimp", "squid": "squid", "die": "dice", "leaf": "leaves", "loaf": "loaves",
            "tropical fish": "tropical fish", "fish": "fish", "blowfish": "blowfish", "scarf": "scarves",
            "maple leaf": "maple leaves", "kitchen knife": "kitchen knives", "chicken leg": "chicken legs",
            "octopus": "octopuses", "cactus": "cactuses", "bus": "buses",
            "hibiscus": "hibiscuses"}  # fmt: skip
# Bare names that end as plurals do, but for games.
_PLURAL_END = re.compile(r"^(?!.*(tennis|billiards|Claus)$).*s$")
NUMBERS = {1: ("one", "一"), 2: ("two", "两"), 3: ("three", "三"), 4: ("four", "四")}
_MEASURE = {"animal": "只", "vehicle": "辆", "flower": "朵", "plant": "棵", "clothing": "件"}

TEMPLATES: dict[str, tuple[str, ...]] = {
    "en": ("{}", "{}", "a picture of {}", "a photo of {}", "an image of {}", "a drawing of {}", "this is {}"),
    "zh": ("{}", "{}", "一张{}的图片", "一张{}的照片", "{}的图片", "一幅{}的画", "这是{}", "图中有{}"),
}
LOOKS: dict[str, dict[str, tuple[str, ...]]] = {
    "colour": {
        "en": ("a colour picture of {}", "a colour photo of {}"),
        "zh": ("{}的彩色图片", "{}的彩色照片"),
    },
    "grey": {
        "en": ("a grey picture of {}", "a black and white photo of {}"),
        "zh": ("{}的灰度图", "{}的黑白照片"),
    },
    "silhouette": {"en": ("a silhouette of {}", "the shadow of {}"), "zh": ("{}的剪影", "{}的轮廓")},
    "line": {"en": ("a line drawing of {}", "an outline of {}"), "zh": ("{}的线条画", "{}的简笔画")},
    "sketch": {"en": ("a sketch of {}", "a pencil sketch of {}"), "zh": ("{}的素描", "{}的草图")},
    "depth": {"en": ("a depth map of {}", "the depth of {}"), "zh": ("{}的深度图", "{}的景深图")},
}
RELATION_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "left": {
        "en": ("{a} to the left of {b}", "{a} left of {b}", "{b} to the right of {a}", "{b} right of {a}"),
        "zh": ("{a}在{b}的左边", "{b}左边的{a}", "{b}在{a}的右边", "{a}右边的{b}"),
    },
    "above": {
        "en": ("{a} above {b}", "{a} over {b}", "{b} below {a}", "{b} under {a}"),
        "zh": ("{a}在{b}的上面", "{b}上面的{a}", "{b}在{a}的下面", "{a}下面的{b}"),
    },
    "front": {
        "en": ("{a} in front of {b}", "{b} behind {a}"),
        "zh": ("{a}在{b}的前面", "{b}在{a}的后面", "{b}前面的{a}"),
    },
}
SIZE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "giant": {"en": ("a giant {n}", "a huge {n}"), "zh": ("巨大的{n}",)},
    "close": {"en": ("{a} close to the camera", "a close {n}"), "zh": ("近处的{n}", "很近的{n}")},
    "middle": {
        "en": ("a medium-sized {n}", "{a} at a middle distance"),
        "zh": ("中等大小的{n}", "不远不近的{n}"),
    },
    "far": {
        "en": ("{a} far away", "a far {n}", "a small {n}"),
        "zh": ("远处的{n}", "很远的{n}", "小小的{n}"),
    },
}
POSE_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "standing": {"en": ("standing", "standing up"), "zh": ("站立的", "站着的")},
    "eating": {"en": ("eating", "eating grass"), "zh": ("进食的", "吃草的", "吃饭的")},
    "lying": {"en": ("lying down", "lying"), "zh": ("躺着的", "卧着的")},
}
POSITION_WORDS = {
    "left": ("on the left", "左边"),
    "right": ("on the right", "右边"),
    "top": ("at the top", "上方"),
    "bottom": ("at the bottom", "下方"),
    "top left": ("in the top left", "左上角"),
    "top right": ("in the top right", "右上角"),
    "bottom left": ("in the bottom left", "左下角"),
    "bottom right": ("in the bottom right", "右下角"),
    "middle": ("in the middle", "中间"),
}
PLACE_WORDS = {
    "grass": ("on grass", "草地上"),
    "sky": ("in the sky", "天空中"),
    "sea": ("at sea", "大海上"),
    "sand": ("on the beach", "沙滩上"),
    "snow": ("in the snow", "雪地里"),
    "night": ("at night", "夜空下"),
}
GROUND_ZH = {
    "white": "白色", "black": "黑色", "grey": "灰色", "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色",
    "blue": "蓝色", "purple": "紫色", "pink": "粉色", "brown": "棕色", "gradient": "渐变", "striped": "条纹",
    "checkered": "格子", "dotted": "圆点", "textured": "有纹理的",
}  # fmt: skip


def ground_phrase(ground: str, lang: str) -> str:
    """A background as a noun: "the sea", "a red background", "草地", "红色背景"."""
    if ground in PLACE_WORDS:
        en, zh = PLACE_WORDS[ground]
        return zh[:-1] if lang == "zh" else en.split(" ", 1)[1]
    if lang == "zh":
        return f"{GROUND_ZH[ground]}背景"
    return f"{'an' if ground == 'orange' else 'a'} {ground} background"


def grounded(ground: str, text: str, lang: str) -> str:
    """The text with its ground: "a dog on grass", "a dog on a red background", "草地上的狗"."""
    if ground in PLACE_WORDS:
        en, zh = PLACE_WORDS[ground]
        return f"{zh}的{text}" if lang == "zh" else f"{text} {en}"
    name = ground_phrase(ground, lang)
    return f"{name}上的{text}" if lang == "zh" else f"{text} on {name}"


def plural(name: str) -> str:
    """The English plural of a concept's name."""
    if name in _PLURALS:
        return _PLURALS[name]
    if re.search(r"(s|x|ch|sh)$", name):
        return name + "es"
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + "s"


def phrase(name: str, lang: str) -> str:
    """The name as a noun phrase: "a dog", "an eye", "the sun", "scissors"; Chinese names stand as they are."""
    if lang == "zh" or name in _BARE:
        return name
    if name == "hourglass":
        return "an hourglass"
    if name in ("sun", "Statue of Liberty"):
        return f"the {name}"
    return f"{'an' if name[0].lower() in 'aeiou' and not name.startswith('uni') else 'a'} {name}"


def definite(name: str, lang: str) -> str:
    """The name with its article: "the dog", "Santa Claus"; Chinese names stand as they are."""
    return name if lang == "zh" or name in ("Santa Claus", "earth", "DNA") else f"the {name}"


def is_plural(name: str) -> bool:
    """Whether an English name is a plural, "scissors"."""
    return name in _BARE and (
        name in ("dice", "mice", "cattle", "fork and knife") or _PLURAL_END.search(name) is not None
    )


def many(concept: Concept) -> str:
    """What is counted, in English: "sheep"; of what has no plural, drawings."""
    return f"drawings of {concept.en}" if concept.en in _BARE else plural(concept.en)


def measure(concept: Concept) -> str:
    """The Chinese measure word of a concept: "只" of animals."""
    kinds = [p for p, _ in concept.parents]
    return next((_MEASURE[p] for p in reversed(kinds) if p in _MEASURE), "个")


def counted(concept: Concept, number: int, lang: str) -> str:
    """ "three sheep", "三只羊"; what has no plural is counted as drawings."""
    en, zh = NUMBERS[number]
    if lang == "en":
        if number > 1:
            return f"{en} {many(concept)}"
        return f"{en} drawing of {concept.en}" if concept.en in _BARE else f"{en} {concept.en}"
    return f"{zh}{measure(concept)}{concept.zh}"
