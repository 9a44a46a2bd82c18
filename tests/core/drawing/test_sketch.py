"""CLIPasso and CLIPDraw as iterators of frames: batches equal single runs, seeds decide, stops hold, nothing is NaN."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from core.clip import encoders
from core.drawing import canny, clipasso, clipdraw, questions, subject
from core.drawing.clipasso import SketchSettings, Variant, ladder
from core.drawing.clipdraw import DrawSettings
from core.drawing.strokes import Frame, Painting, Sketch, Strokes
from core.errors import Refusal
from core.runtime import Cancel
from tests import tiny
from tests.conftest import Rows

STEPS = 6


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory: pytest.TempPathFactory, module_rows: Rows) -> None:
    module_rows(tiny.bundled("tiny-guide", tmp_path_factory.mktemp("sketch")))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A disc with a bar on it."""
    image = Image.new("RGB", (300, 200), (240, 235, 220))
    draw = ImageDraw.Draw(image)
    draw.ellipse((90, 40, 210, 160), fill=(200, 40, 30))
    draw.rectangle((60, 90, 240, 106), fill=(30, 40, 160))
    return image


def settings(*variants: Variant, **more: Any) -> SketchSettings:
    return SketchSettings(variants or (Variant(5),), **{"steps": STEPS, "seeds": 2, "views": 1, **more})


def ended(frames: Iterator[Frame]) -> Frame:
    *_, last = frames
    assert last.result is not None
    return last


def finite(strokes: Strokes) -> bool:
    return all(bool(np.isfinite(a).all()) for a in (strokes.points, strokes.widths, strokes.colors))


# --- frames --------------------------------------------------------------------------------------------------


def test_frames_show_the_run_and_the_last_one_has_the_result(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.drawing.optimise.FRAME_SECONDS", 0.0)
    frames = list(clipasso.sketch(picture, settings(*ladder(2, 5))))
    assert [f.step for f in frames] == [*range(1, STEPS), STEPS, STEPS]
    assert all(f.steps == STEPS and f.losses.shape == (2, 2) for f in frames)
    assert [len(s) for s in frames[2].strokes] == [2, 5]
    assert all(np.allclose(sum(f.terms.values()), f.losses, rtol=1e-5) for f in frames)
    assert all(np.allclose(np.linalg.norm(f.features, axis=1), 1, atol=1e-5) for f in frames)
    assert all(f.ahead == tuple(f.losses.argmin(1)) for f in frames)
    seconds = [f.seconds for f in frames]
    assert seconds == sorted(seconds) and frames[-1].seconds_left == 0
    # Only the first frame carries what was known before, only the last the answer.
    assert [f.start is not None for f in frames] == [True] + [False] * STEPS
    assert [f.result is not None for f in frames] == [False] * STEPS + [True]
    result = frames[-1].result
    assert isinstance(result, Sketch) and result.start is frames[0].start
    assert (result.checkpoint, result.rasterizer, result.steps, result.stopped) == (
        "tiny-guide",
        "torch",
        STEPS,
        False,
    )
    pickle.loads(pickle.dumps(frames[-1]))


def test_the_answer_is_the_lowest_plain_loss_of_the_run(picture: Image.Image) -> None:
    for drawn in ended(clipasso.sketch(picture, settings(*ladder(2, 5)))).result.drawn:  # type: ignore[union-attr]
        assert drawn.curves.shape == (2, STEPS + 1) and np.isfinite(drawn.curves).all()
        assert np.allclose(drawn.losses, drawn.curves.min(1), rtol=1e-4)
        assert drawn.seed == drawn.losses.argmin() and drawn.loss == drawn.losses.min()
        assert drawn.loss == pytest.approx(sum(drawn.terms.values()), rel=1e-5)
        assert drawn.loss < drawn.curves[drawn.seed, 0]
        assert drawn.history_steps[0] == 0 and drawn.history_steps[-1] == STEPS
        assert len(drawn.history) == len(drawn.history_steps) and len(drawn.seeds) == 2


def test_the_start_knows_where_strokes_begin(picture: Image.Image) -> None:
    first = next(iter(clipasso.sketch(picture, settings(Variant(5), Variant(3, start="random")))))
    start = first.start
    assert start is not None and start.subject is None and start.checkpoint == "tiny-guide"
    assert start.picture.shape == (224, 224, 3) and start.edges.dtype == bool
    assert start.probability.sum() == pytest.approx(1, abs=1e-4) and (start.probability >= 0).all()
    assert [p.shape for p in start.points] == [(2, 5, 2), (2, 3, 2)]
    column, row = start.points[0][0].astype(int).T
    assert (start.probability[row, column] > 0).all()
    # An image that is wider than high has white above and below.
    assert (start.picture[:30] == 255).all() and (start.picture[-30:] == 255).all()


@pytest.mark.parametrize("size", [(600, 150), (120, 400), (300, 20), (40, 90)], ids=str)
@pytest.mark.parametrize("cut_out", [False, True])
def test_the_border_of_an_elongated_image_is_no_edge(size: tuple[int, int], cut_out: bool) -> None:
    """White makes the image square; where the image ends and the white begins there is nothing to draw."""
    image = Image.new("RGB", size, (190, 200, 180))
    middle, radius = (size[0] / 2, size[1] / 2), min(size) / 4
    box = [m + sign * radius for sign in (-1, 1) for m in middle]
    ImageDraw.Draw(image).ellipse(box, fill=(120, 20, 40))
    (first, *_) = clipasso.sketch(image, settings(Variant(12), steps=1, lay="edge", cut_out=cut_out))
    start = first.start
    assert start is not None
    left, top, right, bottom = subject.extent(size)
    inside = np.zeros((224, 224), bool)
    inside[top:bottom, left:right] = True
    assert 0 < inside.mean() < 1
    for found in (start.edges, start.saliency, start.probability):
        assert found.any() and not found[~inside].any()
    # Edges and strokes lie on the dark side of the outline of the disc, and nowhere else.
    outline = radius * 224 / max(size)
    row, column = np.nonzero(start.edges)
    for x, y in ((column, row), start.points[0][0].T):
        assert (np.hypot(x - 112, y - 112) - outline).max() < 8


def test_a_square_image_has_no_border_to_leave_out() -> None:
    assert subject.extent((224, 224)) == subject.extent((900, 900)) == (0, 0, 224, 224)


def test_a_subject_without_its_background(picture: Image.Image) -> None:
    start = next(iter(clipasso.sketch(picture, settings(cut_out=True)))).start
    assert start is not None and start.subject is not None
    assert start.subject[112, 112] > 0.9 and start.subject[45, 10] < 0.1
    assert (start.picture[45, 10] == 255).all() and start.picture[112, 112].max() < 255
    cut = Image.new("RGBA", (224, 224))
    cut.paste((10, 120, 40, 255), (60, 60, 160, 160))
    start = next(iter(clipasso.sketch(cut, settings(cut_out=True)))).start
    assert start is not None and start.subject is not None
    assert start.subject[110, 110] == 1 and start.subject[10, 10] == 0


def test_a_subject_has_no_holes_gaps_or_specks() -> None:
    mask = torch.zeros(40, 40, dtype=torch.bool)
    mask[8:30, 8:30] = True
    whole = mask.clone()
    mask[15:22, 15:22] = False  # a hole
    mask[8:15, 18:20] = False  # a gap
    mask[35:37, 35:37] = True  # a speck
    found = subject.solid(mask)
    assert torch.equal(found[10:], whole[10:]) and found[7:10].sum() >= whole[7:10].sum() - 6
    assert not subject.solid(torch.zeros(9, 9, dtype=torch.bool)).any()


def test_strokes_along_edges_follow_the_picture(picture: Image.Image) -> None:
    """A stroke that begins on the disc's rim stays on it; a short walk leaves it anywhere."""
    first = next(
        iter(clipasso.sketch(picture, settings(Variant(12), seeds=1, lay="edge", steps=1, rate=0.01)))
    )
    points = first.strokes[0].points
    assert first.start is not None
    begins = first.start.points[0][0] + 0.5
    middle = points[:, 1:3].mean(1)
    assert np.linalg.norm(points[:, 0] - points[:, 3], axis=1).min() > 3
    assert np.linalg.norm(middle - begins, axis=1).max() < 12


# --- one batch -----------------------------------------------------------------------------------------------


def test_a_batch_of_counts_and_seeds_equals_single_runs(picture: Image.Image) -> None:
    together = ended(clipasso.sketch(picture, settings(*ladder(2, 5), steps=3))).result
    assert together is not None
    for variant, count in enumerate((2, 5)):
        for seed in (0, 1):
            single = settings(Variant(count), seeds=1, first_seed=seed, steps=3, views=0)
            batched = settings(*ladder(2, 5), steps=3, views=0)
            one = ended(clipasso.sketch(picture, single)).result
            many = ended(clipasso.sketch(picture, batched)).result
            assert one is not None and many is not None
            mine, theirs = one.drawn[0], many.drawn[variant]
            assert np.allclose(mine.curves[0], theirs.curves[seed], rtol=2e-4, atol=1e-6)
            assert np.abs(mine.seeds[0].points - theirs.seeds[seed].points).max() < 0.05


def test_parts_through_the_encoder_equal_the_whole(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ended(clipasso.sketch(picture, settings(*ladder(2, 4, 6)))).result
    monkeypatch.setattr("core.drawing.optimise.PIXELS_AT_ONCE", 3 * 32 * 32)
    parts = ended(clipasso.sketch(picture, settings(*ladder(2, 4, 6)))).result
    assert whole is not None and parts is not None
    for a, b in zip(whole.drawn, parts.drawn, strict=True):
        assert np.allclose(a.curves, b.curves, rtol=1e-3, atol=1e-6)


def test_a_seed_decides_everything(picture: Image.Image) -> None:
    def run(seed: int) -> np.ndarray:
        result = ended(clipasso.sketch(picture, settings(first_seed=seed))).result
        assert result is not None
        return result.strokes.points

    assert np.array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))


def test_weights_of_the_losses_and_starts_make_variants(picture: Image.Image) -> None:
    variants = (Variant(4, semantic=1, geometric=0), Variant(4, semantic=0, geometric=1), Variant(4))
    frame = ended(clipasso.sketch(picture, settings(*variants, steps=2)))
    semantic = frame.terms["semantic"]
    assert (semantic[1] == 0).all() and (semantic[[0, 2]] > 0).all()
    geometric = np.sum([value for name, value in frame.terms.items() if name != "semantic"], axis=0)
    assert (geometric[0] == 0).all() and (geometric[[1, 2]] > 0).all()


# --- going on, and stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stop_between_any_two_steps_keeps_what_was_reached(
    after: int, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.drawing.optimise.FRAME_SECONDS", 0.0)
    cancel = Cancel()
    if not after:
        cancel.set()
    frames = []
    for frame in clipasso.sketch(picture, settings(steps=50), cancel=cancel):
        frames.append(frame)
        if frame.step == after:
            cancel.set()
    result = frames[-1].result
    assert result is not None and result.stopped and result.steps == after == frames[-1].step
    assert frames[0].start is not None
    assert finite(result.strokes) and result.drawn[0].curves.shape == (2, after + 1)
    assert np.isfinite(result.drawn[0].curves).all()


def test_an_iterator_that_is_dropped_leaves_the_device_free(picture: Image.Image) -> None:
    frames = clipasso.sketch(picture, settings(steps=50))
    next(iter(frames))
    frames.close()  # type: ignore[attr-defined]
    assert ended(clipasso.sketch(picture, settings(steps=1))).result is not None


def test_a_run_goes_on_from_edited_strokes(picture: Image.Image) -> None:
    result = ended(clipasso.sketch(picture, settings())).result
    assert result is not None
    edited = replace(result.strokes, points=result.strokes.points + np.float32(2))
    first = next(iter(clipasso.sketch(picture, settings(rate=0.01), begin=edited)))
    assert np.abs(first.strokes[0].points - edited.points).max() < 0.1
    # One stroke was taken away: it is begun anew, behind those that were given.
    first = next(iter(clipasso.sketch(picture, settings(rate=0.01), begin=edited.without(0))))
    assert len(first.strokes[0]) == 5
    assert np.abs(first.strokes[0].points[:4] - edited.points[1:]).max() < 0.1
    more = next(iter(clipasso.sketch(picture, settings(Variant(2), rate=0.01), begin=edited)))
    assert len(more.strokes[0]) == 5


# --- questions about a sketch --------------------------------------------------------------------------------


def test_what_a_stroke_is_worth(picture: Image.Image) -> None:
    result = ended(clipasso.sketch(picture, settings(Variant(4)))).result
    assert result is not None
    loss, worth = questions.leave_one_out(picture, result.strokes, settings(Variant(4)))
    assert loss == pytest.approx(result.drawn[0].loss, rel=1e-4)
    assert worth.shape == (4,) and np.isfinite(worth).all()
    # A stroke outside the canvas is worth nothing.
    away = result.strokes.points.copy()
    away[2] = away[2] + 1000
    _, worth = questions.leave_one_out(picture, replace(result.strokes, points=away), settings(Variant(4)))
    assert abs(worth[2]) < 1e-6 < np.abs(worth[[0, 1, 3]]).max()


def test_names_of_a_drawing_and_of_drawings_by_others(picture: Image.Image) -> None:
    frame = ended(clipasso.sketch(picture, settings()))
    result = frame.result
    assert isinstance(result, Sketch)
    named = questions.name(result.drawn[0].features, ["dog", "cat", "red envelope"])
    assert set(named.labels) == {"dog", "cat", "red envelope"}
    assert float(named.probabilities.sum()) == pytest.approx(1, abs=1e-5)
    edges = canny.at_ink(result.start.picture, canny.ink(result.strokes.image()), 3.0)
    losses, features = questions.judged_drawings(picture, [result.start.picture, edges], settings())
    assert losses[0] == pytest.approx(0, abs=1e-5) and losses[1] > losses[0]
    assert features.shape[0] == 2 and np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


# --- colour, widths and odd images -------------------------------------------------------------------------


def test_coloured_strokes_begin_with_the_colours_they_lie_on_and_learn(picture: Image.Image) -> None:
    result = ended(clipasso.sketch(picture, settings(Variant(6), colour=True))).result
    assert isinstance(result, Sketch)
    colors = result.strokes.colors
    assert ((colors >= 0) & (colors <= 1)).all() and np.ptp(colors[:, :3]) > 0.1
    begin, end = result.drawn[0].history[0].colors, result.drawn[0].history[-1].colors
    assert 0 < np.abs(end - begin).max() < 0.2
    black = ended(clipasso.sketch(picture, settings(Variant(6)))).result
    assert black is not None and np.array_equal(black.strokes.colors, np.tile([0, 0, 0, 1], (6, 1)))
    assert (black.strokes.widths == 3).all()


@pytest.mark.parametrize("mode", ["flat", "black", "tiny", "strip", "grey"])
def test_no_picture_makes_a_nan(mode: str) -> None:
    image = {
        "flat": Image.new("RGB", (224, 224), "white"),
        "black": Image.new("RGB", (224, 224)),
        "tiny": Image.new("RGB", (1, 1), "red"),
        "strip": Image.new("RGB", (2000, 3), "blue"),
        "grey": Image.linear_gradient("L"),
    }[mode]
    for frame in clipasso.sketch(image, settings(Variant(3), cut_out=True, colour=True, steps=3, lay="edge")):
        assert np.isfinite(frame.losses).all() and all(map(finite, frame.strokes))


def test_one_stroke_and_sixty_four_and_the_official_schedule(picture: Image.Image) -> None:
    result = ended(clipasso.sketch(picture, settings(*ladder(1, 64), seeds=1, steps=2))).result
    assert result is not None and [len(d.strokes) for d in result.drawn] == [1, 64]
    official = clipasso.official()
    assert (official.steps, official.seeds, official.rate, official.views) == (2001, 3, 1.0, 4)
    cancel = Cancel()
    frames = clipasso.sketch(picture, replace(official, views=0, seeds=1), cancel=cancel)
    first = next(iter(frames))
    cancel.set()
    assert first.steps == 2001
    # Short random strokes: every control point within 5.6 px and one step of the one before.
    steps = np.abs(np.diff(first.strokes[0].points, axis=1)).max()
    assert steps <= 0.025 * 224 + 2


def bad() -> Iterator[SketchSettings]:
    for more in (
        {"seeds": 0},
        {"seeds": 9},
        {"steps": 0},
        {"steps": 5001},
        {"width": 0.1},
        {"width": float("nan")},
    ):
        yield settings(**more)
    for more in ({"rate": 0.0}, {"rate": 21.0}, {"views": 17}, {"views": -1}, {"seeds": 8}):
        yield settings(*ladder(1, 2, 3, 4), **more)
    for variant in (
        Variant(0),
        Variant(65),
        Variant(4, semantic=-1),
        Variant(4, 0, 0),
        Variant(4, geometric=11),
    ):
        yield settings(variant)
    yield SketchSettings(variants=())


@pytest.mark.parametrize("wrong", bad())
def test_settings_out_of_range_are_refused_before_any_work(
    wrong: SketchSettings, picture: Image.Image
) -> None:
    with pytest.raises(Refusal) as refusal:
        next(iter(clipasso.sketch(picture, wrong)))
    assert refusal.value.code == "sketch_setting"


@pytest.mark.parametrize("distance", ["l1", "cosine"])
def test_other_distances_guide_a_sketch(distance: Any, picture: Image.Image) -> None:
    usual = ended(clipasso.sketch(picture, settings())).result
    other = ended(clipasso.sketch(picture, settings(distance=distance))).result
    assert usual is not None and other is not None and finite(other.strokes)
    assert other.drawn[0].loss != usual.drawn[0].loss and np.isfinite(other.drawn[0].loss)
    with pytest.raises(Refusal) as refusal:
        next(iter(clipasso.sketch(picture, settings(distance="l3"))))
    assert refusal.value.code == "unknown_distance"


# --- CLIPDraw ------------------------------------------------------------------------------------------------


def drawing(**more: Any) -> DrawSettings:
    return DrawSettings(**{"strokes": 6, "steps": STEPS, "views": 2, **more})


def test_a_prompt_becomes_coloured_strokes_of_learned_width() -> None:
    frames = list(clipdraw.draw("a red dog", drawing(seeds=2)))
    result = frames[-1].result
    assert isinstance(result, Painting) and result.prompt == "a red dog"
    one = result.drawn[0]
    begin = one.history[0]
    assert finite(one.strokes) and (one.strokes.widths != begin.widths).any()
    assert (one.strokes.widths >= 2).all() and ((one.strokes.colors >= 0) & (one.strokes.colors <= 1)).all()
    assert np.abs(one.strokes.colors - begin.colors).max() > 1e-3
    assert np.ptp(one.strokes.colors) > 0.3
    # Paths of one to three cubics: shorter ones repeat their last point.
    lengths = (np.abs(np.diff(begin.points, axis=1)).sum(2) > 0).sum(1)
    assert begin.points.shape[1] == 10 and set(lengths) <= {3, 6, 9} and len(set(lengths)) > 1
    assert (one.curves[:, -1] < one.curves[:, 0]).any()
    # The last iterate is the drawing, as published.
    assert one.losses == pytest.approx(one.curves[:, -1], rel=1e-3)


def test_negative_prompts_add_what_they_say() -> None:
    plain = ended(clipdraw.draw("a red dog", drawing(steps=1)))
    kept = ended(clipdraw.draw("a red dog", drawing(steps=1, negatives=clipdraw.NEGATIVES)))
    assert set(plain.terms) == {"prompt"} and set(kept.terms) == {"prompt", "negatives"}
    assert np.allclose(kept.terms["prompt"] + kept.terms["negatives"], kept.losses, atol=1e-5)
    # What the terms say is what the encoder says of the drawing.
    with encoders.use("tiny-guide", "cpu", torch.float32) as encoder:
        texts = encoder.encode_text(["a red dog", *clipdraw.NEGATIVES])
    cosines = texts @ kept.features[0]
    assert kept.terms["prompt"].item() == pytest.approx(-cosines[0], abs=1e-5)
    assert kept.terms["negatives"].item() == pytest.approx(0.3 * cosines[1:].sum(), abs=1e-5)
    # They move the strokes: the same seed ends elsewhere.
    assert not np.array_equal(kept.strokes[0].points, plain.strokes[0].points)


def test_a_drawing_obeys_its_seed_and_a_stop_and_goes_on() -> None:
    def run(seed: int, **more: Any) -> Painting:
        result = ended(clipdraw.draw("a dog", drawing(first_seed=seed, **more))).result
        assert isinstance(result, Painting)
        return result

    one, two = run(1), run(2)
    assert np.array_equal(run(1).strokes.points, one.strokes.points)
    assert not np.array_equal(two.strokes.points, one.strokes.points)
    both = run(1, seeds=2, views=2)
    assert [len(s) for s in both.drawn[0].seeds] == [6, 6]
    cancel = Cancel()
    frames = []
    for frame in clipdraw.draw("a dog", drawing(steps=100), cancel=cancel):
        frames.append(frame)
        cancel.set()
    stopped = frames[-1].result
    assert stopped is not None and stopped.stopped and stopped.steps < 100
    begun = next(iter(clipdraw.draw("a dog", drawing(rate=0.01), begin=one.strokes)))
    assert np.abs(begun.strokes[0].points - one.strokes.points).max() < 0.1


def test_a_dark_background_stays_and_round_trips() -> None:
    result = ended(clipdraw.draw("a dog", drawing(background=(0.1, 0.2, 0.3)))).result
    assert result is not None
    again = Strokes.from_svg(result.strokes.svg())
    assert np.allclose(again.background, (0.1, 0.2, 0.3), atol=1 / 500)
    assert np.array_equal(again.widths, result.strokes.widths)
    assert np.allclose(again.colors, result.strokes.colors, atol=1 / 500)
    assert np.abs(again.image().astype(int) - result.strokes.image()).max() <= 2


@pytest.mark.parametrize(
    ("prompt", "wrong", "code"),
    [
        ("a dog", {"strokes": 0}, "sketch_setting"),
        ("a dog", {"strokes": 513}, "sketch_setting"),
        ("a dog", {"views": 0}, "sketch_setting"),
        ("a dog", {"background": (0.0, 2.0, 0.0)}, "sketch_setting"),
        ("a dog", {"negatives": ("x",) * 9}, "sketch_setting"),
        ("a dog", {"negatives": (" ",)}, "no_text"),
        ("   ", {}, "no_text"),
        ("a dog", {"checkpoint": "nobody"}, "unknown_checkpoint"),
    ],
)
def test_what_cannot_be_drawn_is_refused(prompt: str, wrong: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        next(iter(clipdraw.draw(prompt, drawing(**wrong))))
    assert refusal.value.code == code
