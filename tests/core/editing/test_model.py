"""The page's model on a tiny row of the classroom: where edits begin, every method, and what answers at once."""

from __future__ import annotations

import json
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from core import runtime
from core.editing import directions, latents, rows, settings
from core.editing.model import Editor
from core.editing.result import Edit, Frame, Start
from core.errors import Refusal
from tests.core.editing.rows import FACTORS, miniature
from tests.core.test_arrows import ROOT, imports

# Few steps, and little training.
QUICK = {"steps": 3, "seed": 1}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Editor:
    return Editor.load(miniature(tmp_path_factory.mktemp("classroom")), "cpu")


def edit(model: Editor, start: Start, method: str, **chosen: object) -> tuple[list[Frame], Edit]:
    frames = list(model.edit(start, "a cat", model.settings(method, **{**QUICK, **chosen})))
    assert frames[-1].result is not None
    return frames, frames[-1].result


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Up to a grey level: some processors multiply a batch in another order than one image."""
    return bool(np.abs(first.astype(int) - second).max() <= 1)


def test_an_edit_begins_at_a_state_a_seed_an_image_or_a_text(model: Editor) -> None:
    state = model.start(state={"thing": "cat", "ground": "red"})
    assert state.state == {"thing": "cat", "style": "noto", "ground": "red", "rendering": "colour"}
    assert (
        state.made is not None
        and same(state.made, state.image)
        and state.latent is not None
        and state.latent.shape == (8, 96)
    )
    other = model.start(state={"thing": "cat"})
    assert not same(state.image, other.image)
    # psi draws towards the mean, which all share.
    assert same(*(model.start(state={"thing": t}, psi=0.0).image for t in ("cat", "dog")))
    seeds = [model.start(seed=i) for i in range(12)]
    assert all(one.state is not None and one.state["rendering"] == "colour" for one in seeds)
    assert len({one.state["thing"] for one in seeds if one.state}) == 3
    assert same(model.start(seed=4).image, seeds[4].image)
    own = model.start(image=Image.new("RGB", (300, 200), (200, 30, 30)))
    assert own.image.shape == (32, 32, 3) and same(own.image[0, 0], np.array([200, 30, 30]))
    assert own.made is not None and own.made.shape == own.image.shape and not same(own.made, own.image)
    painted = [model.start(text=text, seed=2).image for text in ("a red cat", "a red cat", "a car")]
    assert same(painted[0], painted[1]) and not same(painted[0], painted[2])
    assert same(pickle.loads(pickle.dumps(own)).image, own.image)
    assert model.factors() == {name: tuple(values) for name, values in FACTORS.items()}


@pytest.mark.parametrize("method", rows.METHODS[rows.CLASSROOM])
def test_every_method_edits_and_is_judged_by_both(model: Editor, method: str) -> None:
    start = model.start(image=Image.effect_noise((40, 40), 80).convert("RGB"))
    frames, result = edit(model, start, method, neutral="a dog")
    steps = settings.of(model.checkpoint, method, **QUICK).steps if method != "global_direction" else 1
    assert frames[-1].steps == frames[-1].step and [f.step for f in frames] == sorted(f.step for f in frames)
    assert len(frames) >= (2 if method == "sdedit" else steps + 1 if method != "global_direction" else 2)
    latent = method in rows.LATENT
    assert start.made is not None and same(result.start, start.made if latent else start.image)
    assert (result.moved is not None) == latent and result.changed >= 0
    assert all(frame.image is not None for frame in frames)
    assert all((frame.noisy is not None) == (not latent) for frame in frames[:-1])
    for opinion, clip in ((result.guide, "classroom-rn"), (result.other, "classroom-vit")):
        assert opinion is not None and opinion.clip == clip
        assert opinion.share_before is not None and 0 <= opinion.share_before <= 1
    json.dumps(result.to_json())
    pickle.dumps(result)


def test_the_same_settings_make_the_same_image(model: Editor) -> None:
    start = model.start(seed=1)
    for method in ("instruct", "sdedit", "mapper"):
        first, again, other = (edit(model, start, method, seed=seed)[1].image for seed in (1, 1, 9))
        assert same(first, again) and not same(first, other), method


def test_sdedit_forgets_more_of_the_image_with_more_strength(model: Editor) -> None:
    start = model.start(image=Image.new("RGB", (32, 32), (255, 255, 255)))
    frames, _ = edit(model, start, "sdedit", steps=10, strength=0.3)
    assert len(frames) == 3 + 1
    noise = [
        np.abs(f.noisy.astype(float) - start.image).mean()
        for f in model.edit(start, "a cat", model.settings("sdedit", steps=10, strength=1.0))
        if f.noisy is not None
    ]
    assert frames[0].noisy is not None
    assert np.abs(frames[0].noisy.astype(float) - start.image).mean() < noise[0]


def test_a_mapper_is_trained_once_for_a_text(model: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, first = edit(model, model.start(seed=1), "mapper", steps=4, seed=5)
    assert [frame.step for frame in frames] == [1, 2, 3, 4, 4]
    assert set(frames[0].losses) == {"clip", "distance", "loss"}
    # The second start needs no training, and neither does another strength.
    frames, second = edit(model, model.start(seed=2), "mapper", steps=4, seed=5)
    assert len(frames) == 1 and not same(first.image, second.image)
    none = edit(model, model.start(seed=2), "mapper", steps=4, seed=5, strength=0.0)[1]
    assert none.moved == 0 and same(none.image, none.start)


def test_a_direction_names_the_channels_that_it_moves(model: Editor) -> None:
    start = model.start(seed=3)
    way = model.direction("a dog", "a cat", 0.1)
    assert way.count == len(way.channels) == int((np.abs(way.scores) >= 0.1).sum()) > 0
    scores = [abs(one.score) for one in way.channels]
    assert scores == sorted(scores, reverse=True)
    known = model.layers()
    assert not any(known[one.layer].to_rgb for one in way.channels)
    # A threshold that nothing passes moves nothing and says that they are too few.
    nothing = model.direction("a dog", "a cat", 0.99)
    assert nothing.count == 0 and nothing.few
    still = model.directed(start, "a dog", "a cat", 5.0, 0.99)
    assert still.moved == 0 and same(still.image, start.image)
    moved = model.directed(start, "a dog", "a cat", 5.0, 0.1)
    assert not same(moved.image, start.image)
    # Without a neutral text it begins at the mean of all things.
    assert model.direction("", "a cat", 0.1).count > 0
    grid = model.grid(start, "a dog", "a cat", (-5.0, 0.0, 5.0), (0.1, 0.99))
    assert grid.images.shape == (2, 3, 32, 32, 3) and grid.counts == (way.count, 0)
    assert same(grid.images[0, 1], start.image) and same(grid.images[1, 2], start.image)
    assert np.abs(grid.images[0, 2].astype(int) - moved.image).max() <= 1
    assert grid.guide is not None and grid.guide.shape == (2, 3) and grid.other is not None
    assert moved.guide is not None and grid.guide[0, 2] == pytest.approx(moved.guide.after, abs=0.02)


def test_texts_are_put_into_templates_of_their_language() -> None:
    from core.editing.miniature import TEMPLATES

    assert directions.wordings(TEMPLATES, "a cat") == ["a cat", "a picture of a cat"]
    assert directions.wordings(TEMPLATES, "一只猫") == ["一只猫", "一只猫的图片"]


def test_the_direction_is_the_sum_over_channels(model: Editor) -> None:
    """One channel by hand is the direction of that channel alone."""
    start = model.start(seed=3)
    way = model.direction("a dog", "a cat", 0.05)
    best = way.channels[0]
    alone = float(np.abs(way.scores).max())
    least = sorted((abs(one.score) for one in way.channels), reverse=True)[1]
    beta = (alone + least) / 2
    moved = model.directed(start, "a dog", "a cat", 4.0, beta)
    by_hand = model.channel(start, best.layer, best.channel, (0.0, 4.0 * np.sign(best.score)))
    assert same(by_hand[0], start.image) and np.abs(by_hand[1].astype(int) - moved.image).max() <= 1


def test_layers_are_coarse_medium_and_fine(model: Editor) -> None:
    known = model.layers()
    assert [one.side for one in known] == [4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32]
    assert [one.index for one in known if one.to_rgb] == [1, 4, 7, 10]
    assert list(dict.fromkeys(one.level for one in known)) == ["coarse", "medium", "fine"]
    assert directions.levels(18) == {"coarse": slice(0, 4), "medium": slice(4, 8), "fine": slice(8, 18)}


def test_latents_are_mixed_and_interpolated(model: Editor) -> None:
    first, second = model.start(seed=1), model.start(seed=2)
    way = model.interpolate(first, second, 5)
    assert len(way) == 5 and same(way[0], first.image) and same(way[-1], second.image)
    assert not same(way[2], first.image)
    mixed = model.mix(first, second)
    assert list(mixed) == ["coarse", "medium", "fine"]
    assert all(not same(image, first.image) for image in mixed.values())
    assert all(same(image, first.image) for image in model.mix(first, first).values())


def test_noise_is_shown_as_the_editor_adds_it(model: Editor) -> None:
    plan = model.schedule(8, 0.5)
    np.testing.assert_allclose(plan.signal**2 + plan.noise**2, 1, atol=1e-5)
    assert plan.run.tolist() == [False] * 4 + [True] * 4 and (np.diff(plan.signal) > 0).all()
    start = model.start(image=Image.new("RGB", (32, 32), (255, 255, 255)))
    images = model.noised(start, 8, seed=1)
    far = [np.abs(one.astype(float) - start.image).mean() for one in images]
    assert far == sorted(far, reverse=True)
    frames, _ = edit(model, start, "sdedit", steps=8, strength=0.5, seed=1)
    assert same(model.noised(start, 8, seed=1)[0], images[0]) and frames[0].steps == 4


@pytest.mark.parametrize("method", ["instruct", "optimization", "mapper"])
def test_a_stop_ends_an_edit_behind_its_step(model: Editor, method: str) -> None:
    cancel, seen, remembered = runtime.Cancel(), [], len(latents.MAPPERS)
    with pytest.raises(Refusal) as caught:
        for frame in model.edit(
            model.start(seed=1), "a dog on grass", model.settings(method, steps=30, seed=7), cancel
        ):
            seen.append(frame.step)
            cancel.set()
    assert caught.value.code == "cancelled" and len(seen) == 1
    assert len(latents.MAPPERS) == remembered  # half a mapper is not kept


def test_twenty_edits_do_not_grow(model: Editor) -> None:
    start = model.start(seed=1)
    for _ in range(3):
        edit(model, start, "instruct")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        edit(model, start, "instruct", steps=1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        ({"steps": 0}, "out_of_range"),
        ({"seed": -7}, "bad_seed"),
        ({"seed": 1.5}, "bad_seed"),
        ({"alpha": float("nan")}, "out_of_range"),
        ({"neutral": "a dog " * 2000}, "text_too_long"),
        ({"neutral": 5}, "no_text"),
        ({"rate": -1.0}, "out_of_range"),
        ({"distance": (-1.0,)}, "out_of_range"),
    ],
)
def test_settings_out_of_range_are_refused(model: Editor, chosen: dict[str, object], code: str) -> None:
    with pytest.raises(Refusal) as caught:
        model.edit(model.start(seed=1), "a cat", model.settings("optimization", **chosen))
    assert caught.value.code == code


def test_what_a_row_does_not_know_is_refused(model: Editor) -> None:
    for given in ({"thing": "unicorn"}, {"weather": "rain"}):
        with pytest.raises(Refusal) as caught:
            model.start(state=given)
        assert caught.value.code == "unknown_factor"
    with pytest.raises(Refusal) as caught:
        model.settings("inversion_of_all")
    assert caught.value.code == "unknown_method"
    with pytest.raises(Refusal) as caught:
        model.channel(model.start(seed=1), 0, 999, (1.0,))
    assert caught.value.code == "out_of_range"


def test_rows_are_told_without_loading_them() -> None:
    assert rows.methods("stylegan2-ffhq") == ("optimization", "stylespace")
    assert rows.methods("sd-turbo") == ("sdedit", "inversion") and rows.starts("sd-turbo") == ("image",)
    assert rows.methods("instruct-pix2pix") == ("instruct",) and rows.methods("ddpm-cifar10-32") == (
        "guidance",
    )
    assert rows.guide("stylegan2-ffhq") == "clip-vit-b32" and rows.other("stylegan2-ffhq") == "clip-rn50"
    assert settings.of("sd-turbo").steps == 4 and settings.of("sd-turbo").text_guidance == 1.0
    for module in ("rows", "settings"):
        known = imports(ROOT / "core" / "editing" / f"{module}.py", top_level_only=True)
        assert not any(name.split(".")[0] in ("torch", "diffusers") for name in known)


def test_a_tensor_that_is_missing_is_named(model: Editor, tmp_path: Path) -> None:
    name = miniature(tmp_path, "tiny-broken")
    state = load_file(tmp_path / "model.safetensors")
    for lost in ("relevance", "encoder.one.bias"):
        kept = {key: value for key, value in state.items() if key.removesuffix(".scale") != lost}
        save_file(kept, tmp_path / "model.safetensors")
        with pytest.raises(Refusal) as caught:
            Editor.load(name, "cpu")
        assert caught.value.code == "bad_checkpoint" and caught.value.params["tensor"] == lost.removeprefix(
            "encoder."
        )


def test_a_guide_that_was_asked_first_for_an_opinion_still_has_gradients(model: Editor) -> None:
    """The pool's encoder is shared: whoever loads it in inference mode must not take the gradient from all others."""
    runtime.POOL.drop_idle()
    with torch.inference_mode(), model.use():
        from core.editing import judges

        with judges.use("classroom-rn", "cpu") as encoder:
            assert not next(encoder.model.parameters()).is_inference()
    assert edit(model, model.start(seed=1), "optimization")[1].moved is not None


def test_packed_tensors_with_one_leading_row_keep_a_scale_for_each_output() -> None:
    from core.checkpoints import bytewise

    wide = torch.randn(1, 4, 3, 3, 3) * torch.tensor([1.0, 10.0, 100.0, 1000.0])[None, :, None, None, None]
    back = bytewise.unpacked(bytewise.packed({"w": wide, "one": wide[:, :1]}))
    for name, before in (("w", wide), ("one", wide[:, :1])):
        error = (back[name] - before).abs().amax((0, 2, 3, 4)) / before.abs().amax((0, 2, 3, 4))
        assert error.max() < 0.006, name
