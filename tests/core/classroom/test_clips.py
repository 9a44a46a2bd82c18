"""Clips: the same from the same seed, boxes that fit the pixels, motions that go where their captions say."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from core.classroom import Clips, ClipSettings, open_atlas, render_clips, sample_clips
from core.classroom.world.clips import CAMERAS, ClipSpec, times
from core.classroom.world.concepts import concepts, seen
from core.classroom.world.motions import ACTIONS, MOTIONS, OPPOSITES, SENTENCES, WITH_OTHER, ClipWriter
from core.classroom.world.scenes import bounds
from core.classroom.world.specs import BACKGROUNDS, KINDS

PLAIN = {"augment": 0.0, "camera": 0.0}


def drawn(count: int, seed: int = 0, frames: int = 9, size: int = 64, **settings: object) -> Clips:
    atlas = open_atlas()
    spec = sample_clips(count, seed, atlas, ClipSettings(**settings))  # type: ignore[arg-type]
    return render_clips(spec, atlas, times(frames), size)


def without_mover(spec: ClipSpec) -> ClipSpec:
    present = spec.scene.present.clone()
    present[:, 0] = False
    return replace(spec, scene=replace(spec.scene, present=present))


def centres(boxes: Tensor) -> Tensor:
    """[..., 4] -> [..., 2]."""
    return (boxes[..., :2] + boxes[..., 2:]).float() / 2


# --- pixels ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_clips() -> None:
    first, again, other = drawn(12, 5), drawn(12, 5), drawn(12, 6)
    assert torch.equal(first.picture, again.picture) and torch.equal(first.boxes(), again.boxes())
    assert not torch.equal(first.picture, other.picture)
    assert first.picture.shape == (12, 9, 3, 64, 64) and first.boxes().shape == (12, 9, 4, 4)
    assert float(first.picture.min()) >= 0 and float(first.picture.max()) <= 1


def test_a_clip_looks_the_same_among_others_and_alone() -> None:
    together = drawn(10, 3, camera=0.5)
    for i in (0, 7):
        alone = render_clips(together.spec.take([i]), open_atlas(), together.moments)
        assert torch.allclose(alone.picture[0], together.picture[i], atol=1e-5)
        assert torch.equal(alone.boxes()[0], together.boxes()[i])


@pytest.mark.parametrize("camera", [0.0, 1.0])
def test_boxes_fit_the_pixels(camera: float) -> None:
    """What changes when the moving thing is taken away lies in its box; a soft edge changes a pixel by less than half."""
    clips = drawn(64, 1, augment=0.0, camera=camera)
    gone = render_clips(without_mover(clips.spec), open_atlas(), clips.moments)
    change = (clips.picture - gone.picture).abs().amax(2)[:, :, None]
    found, told = bounds(change > 0.51)[:, :, 0], clips.boxes()[:, :, 0]
    there = told[..., 2] > 0
    assert 0.8 < there.float().mean() < 1
    assert float(change[:, :, 0][~there].amax()) == 0, "nothing is seen of a thing that is not there"
    outside = torch.cat([(told - found)[..., :2], (found - told)[..., 2:]], -1)  # pixels beyond the box
    assert int(outside[there & (found[..., 2] > 0)].max()) <= 0
    # A thing alone, well told from its ground, fills its box.
    alone = there & ~clips.spec.scene.present[:, None, 1]
    off = (told - bounds(change > 0.2)[:, :, 0]).abs().amax(-1)[alone]
    assert alone.sum() > 100 and (off <= 1).float().mean() > 0.85
    assert (clips.boxes(visible=True)[:, :, 0][alone] == told[alone]).all()


def test_masks_are_disjoint_where_seen() -> None:
    clips = drawn(24, 2, company=1.0)
    assert int(clips.visible.sum(2).max()) == 1
    assert (clips.visible <= clips.amodal).all()


# --- motions -----------------------------------------------------------------------------------------------

AXES = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}


@pytest.mark.parametrize("camera", [0.0, 1.0])
@pytest.mark.parametrize("motion", AXES)
def test_things_move_where_they_are_said_to(motion: str, camera: float) -> None:
    axis, sign = AXES[motion]
    clips = drawn(24, 4, motions=(motion,), camera=camera)
    way = centres(clips.boxes()[:, :, 0])[:, :, axis]
    assert (sign * (way[:, -1] - way[:, 0]) > 64 * 0.2).all()
    assert (sign * way.diff(dim=1) > -1).all()
    assert (clips.boxes()[:, :, 0, 2] > 0).all()


def test_things_grow_and_shrink() -> None:
    for motion, sign in (("grow", 1), ("shrink", -1)):
        boxes = drawn(24, 5, motions=(motion,), **PLAIN).boxes()[:, :, 0].float()
        width = boxes[..., 2] - boxes[..., 0]
        assert (sign * (width[:, -1] - width[:, 0]) > 8).all()


@pytest.mark.parametrize(("motion", "quarters"), [("clockwise", -1), ("counterclockwise", 1)])
def test_things_turn_as_a_clock_does_or_against_it(motion: str, quarters: int) -> None:
    atlas = open_atlas()
    spec = sample_clips(16, 6, atlas, ClipSettings(motions=(motion,), company=0.0, **PLAIN))  # type: ignore[arg-type]
    assert not atlas.is_round[spec.scene.sprite[:, 0]].any()
    way = spec.path.angle1 - spec.path.angle0
    # From upright to a quarter of a turn in the same direction, in the middle of a plain ground.
    zero = torch.zeros(16)
    scene = replace(spec.scene, background=torch.full((16,), list(BACKGROUNDS).index("grey")))
    scene.ground[:], scene.pattern[:] = 0.5, 0.0
    path = replace(
        spec.path, x0=zero, x1=zero, y0=zero, y1=zero, angle0=zero, angle1=way.sign() * torch.pi / 2
    )
    clips = render_clips(replace(spec, scene=scene, path=path), atlas, times(2), 96)
    first, last = clips.picture.unbind(1)
    right = (first.rot90(quarters, (2, 3)) - last).abs().mean((1, 2, 3))
    wrong = (first.rot90(-quarters, (2, 3)) - last).abs().mean((1, 2, 3))
    assert (right < 0.01).all() and (right < wrong).all()


def test_what_falls_goes_ever_faster_and_lies() -> None:
    way = centres(drawn(24, 7, motions=("fall",), frames=21, **PLAIN).boxes()[:, :, 0])[..., 1]
    assert (way[:, -1] - way[:, 0] > 64 * 0.3).all() and (way[:, -1] - way[:, -5]).abs().max() <= 2
    early, late = way[:, 8] - way[:, 4], way[:, 13] - way[:, 9]
    assert (late > early).float().mean() > 0.9


def test_what_jumps_lands_where_it_stood() -> None:
    way = centres(drawn(24, 8, motions=("jump",), frames=41, **PLAIN).boxes()[:, :, 0])[..., 1]
    assert (way[:, -1] - way[:, 0]).abs().max() <= 1
    assert (way[:, 0] - way.amin(1) > 64 * 0.2).all()


def test_what_shakes_stays_and_swings() -> None:
    boxes = drawn(24, 9, motions=("shake",), frames=33, size=96, **PLAIN).boxes()[:, :, 0]
    way = centres(boxes)[..., 0]
    sides = (way - (way.amax(1) + way.amin(1))[:, None] / 2).sign()
    turns = sides.diff(dim=1).ne(0).sum(1)
    assert (turns >= 4).all() and ((way.amax(1) - way.amin(1)) < 96 * 0.2).all()
    assert (way.amax(1) - way.amin(1) > 96 * 0.05).all()


def test_what_circles_goes_all_around() -> None:
    clips = drawn(24, 10, motions=("orbit",), frames=33, **PLAIN)
    mover, other = centres(clips.boxes()[:, :, 0]), centres(clips.boxes()[:, :, 1])
    assert (clips.boxes()[:, :, 1, 2] > 0).all()
    angle = torch.atan2(*(mover - other).flip(-1).unbind(-1))
    sectors = ((angle + torch.pi) / (torch.pi / 4)).floor().clamp(0, 7).long()
    assert all(len(row.unique()) >= 7 for row in sectors)


def test_what_appears_was_not_there_and_what_vanishes_has_gone() -> None:
    for motion, first, last in (("appear", False, True), ("vanish", True, False)):
        there = drawn(24, 11, motions=(motion,), **PLAIN).boxes()[:, :, 0, 2] > 0
        assert (there[:, 0] == first).all() and (there[:, -1] == last).all()
        assert (there.int().diff(dim=1).abs().sum(1) == 1).all()


def test_what_passes_behind_is_hidden_on_the_way() -> None:
    clips = drawn(32, 12, motions=("behind",), frames=17, **PLAIN)
    area = clips.amodal[:, :, 0].sum((2, 3)).float()
    shown = clips.visible[:, :, 0].sum((2, 3)) / area.clamp(min=1)
    assert (shown[:, [0, -1]] > 0.7).all()
    assert (shown.amin(1) < 0.65).float().mean() > 0.9 and (shown.amin(1) < 0.9).all()
    assert torch.equal(clips.visible[:, :, 1], clips.amodal[:, :, 1])


@pytest.mark.parametrize("motion", ["left", "up", "grow", "clockwise", "appear"])
def test_opposites_are_each_other_played_backwards(motion: str) -> None:
    """The same seed draws the same things: nothing but the order of the frames tells the motions apart."""
    there, back = (
        drawn(16, 13, motions=(name,), company=0.5, camera=0.0) for name in (motion, OPPOSITES[motion])
    )
    assert torch.allclose(there.picture, back.picture.flip(1), atol=1e-5)
    assert torch.allclose(there.picture.mean(1), back.picture.mean(1), atol=1e-5)
    assert not torch.allclose(there.picture, back.picture, atol=0.1)


def test_a_camera_moves_what_stays() -> None:
    clips = drawn(64, 14, company=1.0, camera=1.0, motions=("shake",), augment=0.0)
    way = centres(clips.boxes()[:, :, 1])
    step = (way[:, -1] - way[:, 0]).round()
    signs = {"left": (0, 1), "right": (0, -1), "up": (1, 1), "down": (1, -1)}
    for name, (axis, sign) in signs.items():
        rows = clips.spec.camera == CAMERAS.index(name)
        assert rows.sum() >= 4
        # A thing at the border is cut, and its middle moves less.
        assert (sign * step[rows, axis]).median() >= 8 and (sign * step[rows, axis] >= 3).all()
        assert step[rows, 1 - axis].abs().max() <= 2


def test_settings_are_kept() -> None:
    atlas = open_atlas()
    some = seen()[:40]
    spec = sample_clips(
        200, 15, atlas, ClipSettings(motions=("left", "jump"), concepts=some, company=0.0, camera=0.0)
    )
    assert {MOTIONS[i] for i in spec.motion.tolist()} == {"left", "jump"}
    assert set(spec.scene.concept[:, 0].tolist()) <= set(some)
    assert (spec.scene.kind == KINDS.index("single")).all() and (spec.camera == 0).all()
    spec = sample_clips(600, 16, atlas)
    counts = spec.motion.bincount(minlength=len(MOTIONS))
    assert (counts > 15).all()
    needs = torch.tensor([MOTIONS[i] in WITH_OTHER for i in spec.motion.tolist()])
    assert spec.scene.present[needs, 1].all() and not spec.scene.present[:, 2:].any()


# --- words -------------------------------------------------------------------------------------------------


def test_opposite_sentences_differ_in_the_direction_alone() -> None:
    assert set(SENTENCES) == set(MOTIONS) and len(set(ACTIONS.values())) == len(MOTIONS)
    told: dict[str, set[str]] = {"en": set(), "zh": set()}
    for motion, forms in SENTENCES.items():
        for lang, known in told.items():
            assert all("{a}" in form and ("{b}" in form) == (motion in WITH_OTHER) for form in forms[lang])
            assert not known & set(forms[lang]), "a sentence tells one motion"
            known |= set(forms[lang])
            if motion in OPPOSITES:
                assert len(forms[lang]) == len(SENTENCES[OPPOSITES[motion]][lang])
    assert all(OPPOSITES[OPPOSITES[motion]] == motion for motion in OPPOSITES)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_captions_say_what_is_there(lang: str) -> None:
    spec = sample_clips(120, 17, open_atlas())
    writer = spec.writer()
    opposite = ClipWriter(
        spec.scene, [MOTIONS.index(OPPOSITES.get(MOTIONS[i], MOTIONS[i])) for i in spec.motion.tolist()]
    )
    assert len(writer) == 120
    for i in range(120):
        names = [concepts()[c].name(lang) for c in spec.scene.concept[i, : int(spec.scene.count[i])].tolist()]
        content, order, whole = writer.content(i, lang), writer.order(i, lang, 1), writer.whole(i, lang)
        assert all(name in content.text for name in names) and content.swapped is None
        assert names[0] in order.text and writer.action(i, lang)
        motion = MOTIONS[int(spec.motion[i])]
        assert (order.swapped is None) == (motion not in OPPOSITES)
        if order.swapped is not None:
            assert order.swapped == opposite.order(i, lang, 1).text != order.text
            assert whole.swapped == opposite.whole(i, lang).text != whole.text
        assert content.text == opposite.content(i, lang).text, "content tells nothing of the motion"
        for caption in (content, order, whole, writer.write(i, lang, random.Random(i))):
            assert "{" not in caption.text
    assert [writer.write(i, lang, random.Random(i)) for i in range(9)] == [
        writer.write(i, lang, random.Random(i)) for i in range(9)
    ]
