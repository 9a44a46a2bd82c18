"""The learnable front end and the encoder: what is kept, what a plain transform gives, what a setting changes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from core.audio.esresnet import EncoderSettings, ESResNeXt
from core.audio.fbsp import FBSP, FrontEnd, FrontEndSettings
from core.audio.objectives import PAIRS, loss

SMALL = FrontEndSettings(n_fft=64, hop_length=20, win_length=50, window="hann")
TINY = EncoderSettings(SMALL, (1, 1), (16, 16), stem=8, groups=2, group_width=32, outputs=12)


def wave(*shape: int) -> torch.Tensor:
    return 3000 * torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def test_frames_fit_the_sound_exactly() -> None:
    for samples, frames in ((1, 1), (50, 1), (51, 2), (70, 2), (71, 3)):
        assert SMALL.frames(samples) == frames
        assert FrontEnd(SMALL).frames(wave(1, samples)).shape == (1, frames, 50)
    published = FrontEndSettings()
    assert (published.frames(44_100), published.frames(220_500)) == (77, 392)


def test_filters_begin_as_a_fourier_transform() -> None:
    layer = FBSP(SMALL)
    weights = layer.weights().detach()
    assert weights.shape == (33, 64) and weights.dtype == torch.complex128
    torch.testing.assert_close(layer.norms(), torch.ones(33, dtype=torch.float64))
    assert float(layer.loss()) < 1e-12
    t = math.pi * torch.linspace(-1, 1, 64, dtype=torch.float64)
    torch.testing.assert_close(
        weights[5], torch.polar(torch.full((64,), 1 / 8.0).double(), -5 * t), rtol=0, atol=1e-6
    )


def test_the_bank_is_built_once_and_again_when_a_filter_changes() -> None:
    front = FrontEnd(SMALL).requires_grad_(False)
    first = front.bank()
    assert front.bank() is first
    with torch.no_grad():
        front.fbsp.fc += 0.5
    assert front.bank() is not first
    assert (front.bank().even - first.even).abs().max() > 1e-3


@pytest.mark.parametrize("length", [50, 49])
@pytest.mark.parametrize(("order", "turned"), [(0.0, 0), (1.0, 0), (0.3, 33)])
def test_split_filters_give_what_whole_ones_give(length: int, order: float, turned: int) -> None:
    settings = replace(SMALL, win_length=length)
    front = FrontEnd(settings).requires_grad_(False)
    front.fbsp.m.fill_(order)
    front.fbsp.fb.fill_(1 if order != 1 else 0.9)
    x = wave(2, 200)
    start = (64 - length) // 2
    frames = torch.nn.functional.pad(front.frames(x) * front.window, (start, 64 - length - start))
    wanted = (frames.to(torch.complex128) @ front.fbsp.weights().mT).mT
    real, imaginary = front.spectrum(x)
    torch.testing.assert_close(torch.complex(real.double(), imaginary.double()), wanted, rtol=1e-4, atol=2e-6)
    # An odd window does not lie in the middle of an even number of taps: the filters have all four parts then.
    assert len(front.bank().turned) == turned if length == 50 else len(front.bank().turned) > 30


def test_gradients_of_split_filters_are_those_of_whole_ones() -> None:
    front = FrontEnd(SMALL)
    x = wave(1, 200)
    real, imaginary = front.spectrum(x)
    mine = torch.autograd.grad(real.square().mean() + imaginary.mean(), front.fbsp.m)[0]
    frames = torch.nn.functional.pad(front.frames(x) * front.window, (7, 7))
    whole = frames.to(torch.complex128) @ front.fbsp.weights().mT
    wanted = torch.autograd.grad(whole.real.square().mean() + whole.imag.mean(), front.fbsp.m)[0]
    torch.testing.assert_close(mine, wanted, rtol=1e-3, atol=1e-6)


def test_gradients_reach_the_filters_and_are_divided_by_their_largest() -> None:
    net = ESResNeXt(TINY).train()
    net(wave(3, 1, 400)).square().sum().backward()
    net.fbsp.normalise_gradients()
    for parameter in (net.fbsp.m, net.fbsp.fb, net.fbsp.fc):
        assert parameter.grad is not None and parameter.grad.isfinite().all()
    assert net.fbsp.fc.grad is not None and float(net.fbsp.fc.grad.abs().max()) == pytest.approx(1, rel=1e-4)


def test_channels_are_added_up_not_averaged() -> None:
    net = ESResNeXt(TINY).eval().requires_grad_(False)
    mono = wave(1, 1, 400)
    one, two = net(mono), net(mono.expand(-1, 2, -1))
    torch.testing.assert_close(two - net.fc.bias, 2 * (one - net.fc.bias), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"onesided": False}, {"normalized": False}, {"spec_height": 9, "spec_width": 7}]
)
def test_what_the_published_code_offers_are_settings(changes: dict[str, object]) -> None:
    settings = FrontEndSettings(**{**SMALL.__dict__, **changes})  # type: ignore[arg-type]
    decibels = FrontEnd(settings)(wave(2, 1, 400))
    bins, frames = (9, 7) if "spec_height" in changes else (settings.filters // 3, settings.frames(400))
    assert decibels.shape == (2, 1, 3, bins, frames) and decibels.isfinite().all()


def test_without_attention_there_are_no_such_tensors() -> None:
    net = ESResNeXt(EncoderSettings(**{**TINY.__dict__, "attention": False})).eval()
    assert not [name for name in net.state_dict() if name.startswith("att")]
    assert net.see(FrontEnd.forward(net, wave(1, 1, 400))).maps == ()


def test_one_pair_is_not_halved_and_three_are_a_mean() -> None:
    matrix = torch.tensor([[4.0, 0.0], [1.0, 3.0]])
    rows = torch.nn.functional.cross_entropy(matrix, torch.arange(2))
    columns = torch.nn.functional.cross_entropy(matrix.T, torch.arange(2))
    torch.testing.assert_close(loss([matrix]), rows + columns)
    torch.testing.assert_close(loss([matrix] * len(PAIRS)), (rows + columns) / 2)
    torch.testing.assert_close(loss([matrix[None].expand(5, 2, 2)]), rows + columns)
