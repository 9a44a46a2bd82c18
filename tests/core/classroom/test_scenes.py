"""Scenes: the same from the same seed, and what they say about themselves agrees with their pixels."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from core.classroom import find
from core.classroom.world import wording
from core.classroom.world.atlas import LEVELS, POSES, Atlas, Packed, eating, enclosed, lying, open_atlas
from core.classroom.world.captions import Writer, claim_table, claims
from core.classroom.world.concepts import concepts
from core.classroom.world.placing import Placed, arrange
from core.classroom.world.renderings import RENDERINGS
from core.classroom.world.scenes import compose, render
from core.classroom.world.specs import KINDS, RELATIONS, SceneSettings, nearness, new_pair, sample

STYLES = ("twemoji", "symbola")


@pytest.fixture(scope="module")
def atlas() -> Iterator[Atlas]:
    yield open_atlas(STYLES)


def index(name: str) -> int:
    concept = find(name)
    assert concept is not None
    return concept.index


def test_the_same_seed_gives_the_same_scenes(atlas: Atlas) -> None:
    first, second = sample(16, 5, atlas), sample(16, 5, atlas)
    for field in fields(first):
        assert torch.equal(getattr(first, field.name), getattr(second, field.name)), field.name
    assert torch.equal(render(first, atlas, 48).picture, render(second, atlas, 48).picture)
    assert not torch.equal(sample(16, 6, atlas).concept, first.concept)


def test_a_part_of_a_batch_is_drawn_as_in_the_whole(atlas: Atlas) -> None:
    spec = sample(30, 9, atlas)
    whole = render(spec, atlas, 48)
    part = render(spec.take([3, 28]), atlas, 48)
    assert torch.allclose(part.picture, whole.picture[[3, 28]], atol=1e-6)


def test_packed_sprites_draw_the_same_scenes_in_less_than_half_of_the_memory(
    atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large objects in one colour and in many, as an accelerator draws them from a tensor."""
    largest = atlas.levels[LEVELS[0]]
    assert isinstance(largest, Packed)
    dense = largest[torch.arange(len(atlas))]
    assert atlas.nbytes < (dense.nbytes + sum(atlas.levels[size].nbytes for size in LEVELS[1:])) / 2
    spec = sample(12, 3, atlas)
    packed = render(spec, atlas, 256).picture
    monkeypatch.setitem(atlas.levels, LEVELS[0], dense)
    assert torch.equal(packed, render(spec, atlas, 256).picture)


def test_a_cutout_holds_all_of_its_object(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sample(60, 4, atlas)
    cut = render(spec, atlas, 48)
    assert min(group.shape.shape[-1] for group in cut.cutouts) < 30
    monkeypatch.setattr(atlas, "box", torch.tensor([-9.0, -9.0, 9.0, 9.0]).expand(len(atlas), 4))
    whole = render(spec, atlas, 48)
    assert min(group.shape.shape[-1] for group in whole.cutouts) == 48
    assert torch.allclose(cut.picture, whole.picture, atol=1e-6)
    assert torch.equal(cut.shape, whole.shape)


def test_pictures_are_pictures(atlas: Atlas) -> None:
    scenes = compose(1, 40, size=64, atlas=atlas)
    assert scenes.picture.shape == (40, 3, 64, 64)
    assert scenes.picture.isfinite().all()
    assert scenes.picture.min() >= 0 and scenes.picture.max() <= 1
    assert len(set(scenes.spec.rendering.tolist())) >= 4
    assert set(scenes.spec.kind.tolist()) == {0, 1, 2, 3}


def test_masks_boxes_and_depth_agree(atlas: Atlas) -> None:
    scenes = compose(2, 40, size=64, atlas=atlas)
    amodal, visible = scenes.amodal, scenes.visible
    assert (visible <= amodal).all()
    assert (visible.sum(1) <= 1).all(), "visible masks are disjoint"
    assert torch.equal(visible.any(1), amodal.any(1)), "something is seen wherever something is"
    assert not amodal[~scenes.spec.present].any()
    boxes = scenes.boxes()
    for i, k in scenes.spec.present.nonzero().tolist():
        mask = amodal[i, k]
        if not mask.any():
            continue
        x0, y0, x1, y1 = boxes[i, k].tolist()
        rows, columns = mask.nonzero().unbind(1)
        assert (x0, x1) == (columns.min(), columns.max() + 1)
        assert (y0, y1) == (rows.min(), rows.max() + 1)
    depth = scenes.depth()
    assert (depth[~amodal.any(1)] == 1).all()
    for i, k in scenes.spec.present.nonzero().tolist():
        if visible[i, k].any():
            assert torch.allclose(depth[i][visible[i, k]], scenes.spec.depth[i, k])


def test_the_nearer_object_hides_the_farther(atlas: Atlas) -> None:
    near = Placed(index("heart"), 0.1, 0, 0.5, depth=0.2, style="twemoji")
    far = Placed(index("sun"), -0.1, 0, 0.6, depth=0.8, style="twemoji")
    spec = arrange([far, near], background="white", atlas=atlas)
    assert RELATIONS[int(spec.relation[0])] == "front"
    assert int(spec.concept[0, 0]) == index("heart"), "the first is the one in front"
    assert nearness(spec)[0, :2].tolist() == [0, 1]
    scenes = render(spec, atlas, 96)
    both = scenes.amodal[0, 0] & scenes.amodal[0, 1]
    assert both.sum() > 200
    assert scenes.visible[0, 0][both].all() and not scenes.visible[0, 1][both].any()
    red, green, blue = scenes.picture[0][:, both].mean(1).tolist()
    assert red > 0.6 and green < 0.4 and blue < 0.5, "the heart's red is what one sees"


@pytest.mark.parametrize("relation", [1, 2])
def test_relations_hold_in_the_picture(atlas: Atlas, relation: int) -> None:
    axes = tuple(float(r == relation) for r in (1, 2, 3))
    scenes = compose(3, 30, SceneSettings(kinds=(0, 1, 0, 0), axes=axes, pairs="any"), size=64, atlas=atlas)
    boxes = scenes.boxes().float()
    centre = (boxes[:, :2, :2] + boxes[:, :2, 2:]) / 2
    along = centre[..., relation - 1]
    shown = scenes.amodal[:, :2].flatten(2).any(2).all(1)
    assert shown.sum() > 25
    assert (along[:, 0] < along[:, 1])[shown].all()


def test_a_drawing_in_lines_covers_what_it_encloses(atlas: Atlas) -> None:
    settings = SceneSettings(kinds=(1, 0, 0, 0), looks=(1, 0, 0, 0, 0, 0), augment=0.0, poses=0.0)
    spec = sample(60, 3, atlas, settings)
    inked = atlas.mono[spec.sprite[:, 0]]
    spec.fill[..., 3] = 0.0  # the ground shows through
    scenes = render(spec, atlas, 64)
    spec.fill[..., 3] = 1.0
    filled = render(spec, atlas, 64)
    assert inked.any() and not inked.all()
    # The mask does not depend on whether the inside is painted, though the image does.
    assert torch.equal(scenes.amodal, filled.amodal)
    changed = (scenes.picture - filled.picture).abs().amax(1) > 0.1
    assert changed[inked].any() and not changed[~inked].any()
    assert (scenes.shape[:, 0][changed] > 0).all()


@pytest.mark.parametrize("pairs", ["new", "train"])
def test_pairs_are_new_or_trained_as_asked(atlas: Atlas, pairs: str) -> None:
    spec = sample(400, 8, atlas, SceneSettings(kinds=(0, 1, 0, 0), pairs=pairs))
    new = new_pair(spec.concept[:, 0], spec.concept[:, 1])
    assert (new.float().mean() > 0.99) if pairs == "new" else not new.any()


def test_backgrounds_have_names_as_nouns() -> None:
    assert wording.ground_phrase("sea", "zh") == "大海" and wording.ground_phrase("snow", "en") == "the snow"
    assert wording.ground_phrase("orange", "en") == "an orange background"
    assert wording.ground_phrase("striped", "zh") == "条纹背景"


def test_counts_are_the_objects_drawn(atlas: Atlas) -> None:
    scenes = compose(4, 30, SceneSettings(kinds=(0, 0, 1, 0)), size=64, atlas=atlas)
    drawn = scenes.amodal.flatten(2).any(2).sum(1)
    assert (drawn == scenes.spec.count).float().mean() > 0.9
    for i, row in enumerate(scenes.spec.concept.tolist()):
        assert len(set(row[: int(scenes.spec.count[i])])) == 1
        word = {2: "two", 3: "three", 4: "four"}[int(scenes.spec.count[i])]
        assert Writer(scenes.spec).content(i, "en").text.startswith(word)


def test_training_pairs_and_new_pairs_are_disjoint(atlas: Atlas) -> None:
    pairs = SceneSettings(kinds=(0, 1, 0, 0))
    new = SceneSettings(kinds=(0, 1, 0, 0), pairs="new")
    trained, held = sample(400, 1, atlas, pairs).concept, sample(400, 1, atlas, new).concept
    assert not new_pair(trained[:, 0], trained[:, 1]).any()
    assert new_pair(held[:, 0], held[:, 1]).float().mean() > 0.6
    assert torch.equal(new_pair(trained[:, 0], trained[:, 1]), new_pair(trained[:, 1], trained[:, 0]))


def test_renderings_look_like_themselves(atlas: Atlas) -> None:
    for look, name in enumerate(RENDERINGS):
        looks = tuple(float(i == look) for i in range(len(RENDERINGS)))
        picture = compose(7, 12, SceneSettings(looks=looks, augment=0.0), size=64, atlas=atlas).picture
        spread = (picture.amax(1) - picture.amin(1)).mean()
        if name in ("grey", "depth"):
            assert spread < 1e-5, name
        if name == "colour":
            assert spread > 0.05


def test_captions_are_true_in_both_languages(atlas: Atlas) -> None:
    spec = sample(150, 11, atlas)
    writer, rng = Writer(spec, atlas.mono), random.Random(0)
    for i in range(len(spec)):
        things = [concepts()[c] for c in spec.concept[i, : int(spec.count[i])].tolist()]
        english, chinese = writer.content(i, "en").text, writer.content(i, "zh").text
        for thing in things:
            assert thing.zh in chinese
            known = {thing.en, wording.plural(thing.en)}
            assert any(word in english for word in known), (english, thing)
        for lang in ("en", "zh"):
            said = writer.write(i, lang, rng)
            assert said.text
            if said.swapped is not None:
                assert KINDS[int(spec.kind[i])] == "pair"
                assert said.swapped != said.text
                assert sorted(said.swapped.split()) != [] and len(said.swapped) == len(said.text)
            if said.claim >= 0:
                assert claim_table()[said.claim, things[0].index] == 1


def test_claims_know_associations() -> None:
    row = claim_table()[claims()["money"]]
    assert row[index("red envelope")] == 1 and row[index("money")] == 1 and row[index("dog")] == 0
    assert claim_table()[claims()["pet"]][[index("dog"), index("cat")]].all()


def test_swapped_relation_words(atlas: Atlas) -> None:
    cat, car = Placed(index("cat"), -0.5, 0, 0.4), Placed(index("car"), 0.5, 0, 0.4)
    spec = arrange([car, cat], atlas=atlas)
    caption = Writer(spec).content(0, "en")
    assert caption.text == "a cat to the left of a car"
    assert caption.swapped == "a car to the left of a cat"
    assert Writer(spec).content(0, "zh").text == "猫在汽车的左边"


def test_poses_are_three_different_drawings(atlas: Atlas) -> None:
    sheep = index("sheep")
    sprites = atlas.levels[96][atlas.table[0, sheep]].float()  # [3, 4, c, c]
    standing, eats, lies = (sprites[i, 3] > 128 for i in range(len(POSES)))

    def top(mask: Tensor, columns: slice) -> int:
        return int(mask[:, columns].any(1).nonzero()[0, 0])

    left = slice(0, 24)
    assert top(eats, left) > top(standing, left) + 10, "the head goes down"
    height = [int(m.any(1).sum()) for m in (standing, lies)]
    assert height[1] < 0.75 * height[0], "legs are folded"
    blank = sprites.new_zeros(96, 96, 4).byte().numpy()
    blank[30:60, 30:60] = 255
    assert eating(blank).shape == lying(blank).shape == blank.shape


def test_enclosed_fills_holes_only() -> None:
    ring = torch.zeros(1, 32, 32, dtype=torch.uint8)
    ring[0, 8:24, 8:24] = 255
    ring[0, 12:20, 12:20] = 0
    filled = enclosed(ring)[0] > 128
    assert filled[16, 16] and filled[9, 9] and not filled[2, 2]


def test_scenes_by_hand_are_checked() -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        arrange([])


def test_forward_wordings_begin_with_the_first_object(atlas: Atlas) -> None:
    spec = sample(60, 3, atlas, SceneSettings(kinds=(0, 1, 0, 0), poses=0))
    rng = random.Random(0)
    forward, both = Writer(spec, forward=True), Writer(spec)
    reversed_seen = 0
    for i in range(len(spec)):
        first, second = (concepts()[c].zh for c in spec.concept[i, :2])
        for _ in range(8):
            said = forward.write(i, "zh", rng)
            if said.swapped is not None:
                assert said.text.index(first) < said.text.index(second)
            other = both.relation_of(i, "zh", rng.randrange(12)).text
            reversed_seen += other.index(second) < other.index(first)
    assert reversed_seen > 20
