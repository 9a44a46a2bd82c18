"""StyleGAN2 and StyleCLIP's three methods on tiny generators: what the records do not hold."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core.editing import global_direction, inversion, mapper, optimization, stylegan2
from core.editing.optimization import OptimizationSettings
from core.editing.stylegan2 import Architecture, Generator, ModulatedConv2d
from core.runtime import Cancel

WIDTH, SEEN = 16, 12


@cache
def generator() -> Generator:
    """16 pixels, 16 channels."""
    torch.manual_seed(0)
    net = Generator(Architecture(16, WIDTH, 2, {4: 16, 8: 16, 16: 8}))
    return net.requires_grad_(False)


@cache
def projection() -> Tensor:
    return torch.randn(3 * 16, SEEN, generator=torch.Generator().manual_seed(1))


def see(images: Tensor) -> Tensor:
    """A CLIP of one linear layer."""
    return F.avg_pool2d(images, 4).flatten(1) @ projection()


def text(seed: int = 2) -> Tensor:
    return F.normalize(torch.randn(1, SEEN, generator=torch.Generator().manual_seed(seed)), dim=-1)


def latents(count: int, seed: int = 3) -> Tensor:
    z = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    return generator().widen(generator().map(z))


@pytest.mark.parametrize("upsample", [False, True])
def test_scaling_around_one_convolution_equals_a_kernel_for_each_image(upsample: bool) -> None:
    torch.manual_seed(0)
    conv = ModulatedConv2d(6, 5, 3, 4, upsample=upsample)
    x, style = torch.randn(3, 6, 8, 8), torch.randn(3, 6)
    weight = conv.scale * conv.weight * style[:, None, :, None, None]  # [B, out, in, k, k]
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    if upsample:
        kernels = weight.transpose(1, 2).flatten(0, 1)
        y = F.conv_transpose2d(x.reshape(1, 18, 8, 8), kernels, stride=2, groups=3).view(3, 5, 17, 17)
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        blur = (line[:, None] * line / line.sum() ** 2 * 4).expand(5, 1, 4, 4)
        y = F.conv2d(F.pad(y, (1, 1, 1, 1)), blur, groups=5)
    else:
        y = F.conv2d(x.reshape(1, 18, 8, 8), weight.flatten(0, 1), padding=1, groups=3).view(3, 5, 8, 8)
    torch.testing.assert_close(conv(x, style), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 5, 64])
@pytest.mark.parametrize("count", [1, 3])
def test_strips_of_rows_make_the_same_image(rows: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Generator(Architecture(32, WIDTH, 2, {4: 16, 8: 16, 16: 8, 32: 8})).requires_grad_(False)
    for name, parameter in net.named_parameters():
        if name.endswith(("noise.weight", "bias")):
            parameter.normal_()
    w = net.map(torch.randn(count, WIDTH))
    whole = net(w)
    monkeypatch.setattr(stylegan2, "ROWS", rows)
    monkeypatch.setattr(stylegan2, "LARGE", 8)
    made = []
    strips = Generator.strips
    monkeypatch.setattr(Generator, "strips", lambda *given: made.append(given[1]) or strips(*given))
    torch.testing.assert_close(net(w), whole, rtol=1e-4, atol=1e-4)
    assert not made  # gradients can be asked for
    with torch.no_grad():
        torch.testing.assert_close(net(w), whole, rtol=1e-4, atol=1e-4)
    assert made == [0, 1, 2]


def test_stylespace_has_the_published_layout() -> None:
    net = Generator(Architecture())
    assert net.architecture.latents == 18 and len(net.style_widths) == 26 and sum(net.style_widths) == 9088
    assert net.to_rgb == (1, 4, 7, 10, 13, 16, 19, 22, 25)
    assert sum(net.style_widths[i] for i in net.to_rgb) == 3040
    assert [side for _, side in net.layers][:6] == [0, 1, 1, 2, 3, 3]
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(30.4e6, rel=0.01)


def test_the_box_filter_equals_repeating_and_averaging() -> None:
    image = torch.randn(1, 3, 96, 96)
    wanted = F.avg_pool2d(F.interpolate(image, scale_factor=7), 3)
    torch.testing.assert_close(optimization.resized(image), wanted, rtol=1e-4, atol=1e-5)
    assert optimization.box(1024, 224).sum(1).sub(1).abs().max() < 1e-5


@pytest.mark.parametrize("stylespace", [False, True])
def test_a_batch_of_strengths_is_as_many_edits_alone(stylespace: bool) -> None:
    start = latents(1)
    base = OptimizationSettings(steps=6, stylespace=stylespace)
    together = list(
        optimization.optimize(
            generator(),
            start,
            text(),
            see,
            OptimizationSettings(6, distance=(0.0, 0.5), stylespace=stylespace),
        )
    )
    assert len(together) == base.steps + 1 and together[0].moved.tolist() == [0, 0]
    for row, weight in enumerate((0.0, 0.5)):
        alone = list(
            optimization.optimize(
                generator(),
                start,
                text(),
                see,
                OptimizationSettings(6, distance=(weight,), stylespace=stylespace),
            )
        )
        torch.testing.assert_close(together[-1].images[row], alone[-1].images[0], rtol=1e-3, atol=1e-3)
    free, held = together[-1].moved.tolist()
    assert held < free
    assert together[-1].clip[0] < together[0].clip[0]
    if stylespace:
        for k in generator().to_rgb:
            assert torch.equal(together[0].latents[k], together[-1].latents[k])


def test_likeness_holds_the_image_back() -> None:
    ends = [
        list(
            optimization.optimize(
                generator(), latents(1), text(), see, OptimizationSettings(12, likeness=likeness)
            )
        )[-1]
        for likeness in (0.0, 5.0)
    ]
    assert ends[1].clip > ends[0].clip and ends[1].moved < ends[0].moved


def test_optimization_stops_between_two_steps() -> None:
    cancel, seen = Cancel(), []
    for step in optimization.optimize(generator(), latents(1), text(), see, OptimizationSettings(50), cancel):
        seen.append(step.number)
        if step.number == 2:
            cancel.set()
    assert seen == [0, 1, 2]


def test_a_mapper_learns_its_text_and_stops() -> None:
    torch.manual_seed(0)
    net, some = mapper.LevelsMapper(WIDTH, generator().architecture.latents), latents(32)
    assert net.groups == ["course", "medium", "fine"]
    settings = mapper.MapperSettings(steps=40, rate=0.05)
    told = list(mapper.train(net, generator(), some, text(), see, settings))
    assert sum(t.clip for t in told[-5:]) < sum(t.clip for t in told[:5])
    new = latents(8, seed=9)
    near = [F.normalize(see(generator()(w)), dim=-1) @ text()[0] for w in (new, mapper.edited(net, new))]
    assert near[1].mean() > near[0].mean()
    torch.testing.assert_close(mapper.edited(net, new, 0.0), new)
    cancel = Cancel()
    cancel.set()
    assert not list(mapper.train(net, generator(), some, text(), see, settings, cancel))


def test_single_and_left_out_mappers() -> None:
    some = latents(2)
    assert mapper.SingleMapper(WIDTH)(some).shape == some.shape
    without = mapper.LevelsMapper(WIDTH, some.shape[1], without=("course",))
    assert without(some)[:, :2].abs().max() == 0 and without(some)[:, 2:].abs().max() > 0
    assert list(mapper.groups(18).values()) == [slice(0, 4), slice(4, 8), slice(8, 18)]  # as published


def test_a_regression_finds_which_channels_go_with_what_is_seen() -> None:
    torch.manual_seed(0)
    features = F.normalize(torch.randn(400, 6), dim=-1)
    # Channel 0 follows the first feature, channel 1 the second one backwards, channel 2 none.
    styles = torch.stack([features[:, 0] * 7 + 3, -features[:, 1], torch.randn(400)], 1)
    found = global_direction.regression(styles, features, damping=0.1)
    scores = (found @ F.normalize(features.diff(dim=0), dim=1).T).abs()
    assert found.shape == (3, 6)
    # Half of the channels answer the way between neighbours as much as the published threshold asks.
    assert abs(float((scores >= global_direction.BETA).float().mean()) - 0.5) < 0.01
    assert found[0].argmax() == 0 and found[1].argmin() == 1
    assert found[2].abs().max() < 0.2 * found[0].max()


def test_relevance_is_measured_one_channel_at_a_time() -> None:
    """The published loop leaves channels moved; here the last channel is measured on the images as they are."""
    styles = generator().styles(latents(4))
    before = [style.clone() for style in styles]
    means, deviations = [s.mean(0) for s in styles], [s.std(0) for s in styles]
    found = list(global_direction.relevance_of(generator(), styles, means, deviations, see, batch=3))
    assert all(torch.equal(a, b) for a, b in zip(before, styles, strict=True))
    layers = [k for k in range(len(styles)) if k not in generator().to_rgb]
    assert len(found) == found[-1].count == sum(styles[k].shape[1] for k in layers)
    last = layers[-1]
    features = []
    for sign in (-5, 5):
        changed = [style.clone() for style in styles]
        changed[last][:, -1] = means[last][-1] + sign * deviations[last][-1]
        features.append(see(generator().synthesise(changed))[None])
    torch.testing.assert_close(found[-1].relevance, global_direction.relevance(*features)[0])
    cancel = Cancel()
    cancel.set()
    assert not list(global_direction.relevance_of(generator(), styles, means, deviations, see, cancel=cancel))


def test_no_channel_answers_a_high_beta() -> None:
    styles = generator().styles(latents(2))
    deviations = [s.std(0) for s in styles]
    channels = F.normalize(torch.randn(20, SEEN), dim=-1)
    found = global_direction.direction(channels, text()[0], deviations, generator().to_rgb, beta=2.0)
    assert not found.chosen.any() and all(layer.abs().max() == 0 for layer in found.layers)


def test_noise_truncation_and_mixing() -> None:
    net = generator()
    first, second = latents(2).split(1)
    torch.testing.assert_close(net(first), net(first))
    louder = [noise + 1 for noise in net.fixed_noise]
    net.conv1.noise.weight.fill_(0.5)
    assert not torch.equal(net(first, louder), net(first))
    net.conv1.noise.weight.zero_()
    mixed = net.mix(first, second, 2)
    assert torch.equal(mixed[:, :2], first[:, :2]) and torch.equal(mixed[:, 2:], second[:, 2:])
    assert net.mean_w(64).shape == (1, WIDTH)


def test_the_encoder_gives_a_vector_for_each_layer() -> None:
    net = inversion.Encoder(16, WIDTH, 6, (8, 8, 8))
    found = inversion.invert(net, torch.rand(2, 3, 16, 16))
    assert found.shape == (2, 6, WIDTH)
    # It begins with one vector for all layers.
    torch.testing.assert_close(found, found[:, :1].expand(-1, 6, -1))
