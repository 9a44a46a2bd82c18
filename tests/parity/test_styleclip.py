"""StyleGAN2 and StyleCLIP against the records of the papers' own code: layers, generators, mappers, directions, optimization."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.editing import global_direction, mapper, optimization
from core.editing.stylegan2 import (
    Architecture,
    EqualLinear,
    Generator,
    ModulatedConv2d,
    PixelNorm,
    StyledConv,
    ToRGB,
    published_channels,
    truncated,
)
from tests.parity.records import Records, drawn, normal

RECORDS = Records("styleclip")
PARTS: dict[str, str] = {
    "layers": "StyledConv (upsampling) then StyledConv, ToRGB with skip",
    "mapping": "Generator.style",
    "convolution": "ModulatedConv2d",
    "generator": "Generator",
    "direction": "global direction",
    "optimization": "latent optimization",
    "resize": "CLIPLoss resize",
}


def cases(part: str) -> list[str]:
    """The records of one part of the system."""
    wanted = PARTS.get(part)
    found = {name: RECORDS.read(name)[0]["settings"]["part"] for name in RECORDS.names}
    return [name for name, of in found.items() if (of == wanted if wanted else of not in PARTS.values())]


def made(manifest: dict[str, Any], name: str) -> Tensor:
    """An input of a record, as its seed and its note make it."""
    entry = manifest["arrays"][name]
    value = normal(entry["seed_key"], entry["shape"])
    note = entry["note"]
    if note.startswith("0.3 times"):
        return 0.3 * value
    if note.startswith("1 plus 0.5"):
        return 1 + 0.5 * value
    if note.startswith("0.5 plus the absolute"):
        return 0.5 + value.abs()
    assert note == "standard normal from the seed key"
    return value


def close(
    ours: Tensor, record: Any, manifest: dict[str, Any], name: str, share: float, part: float = 1.0
) -> None:
    """Whether the stored numbers agree within a share of the array's greatest, at least in this part of them."""
    entry = manifest["arrays"][name]
    assert ours.numel() == np.prod(entry["shape"]), name
    found = np.abs(ours.detach().numpy().ravel()[:: entry["step"]] - record[name].ravel())
    assert (found <= share * entry["absmax"] + 1e-9).mean() >= part, (name, found.max())


def filled(module: nn.Module, manifest: dict[str, Any], prefix: str = "") -> None:
    """Puts the record's weights into a module; those that it does not list are not used by the case."""
    entries = [e for e in manifest["state"] if e["key"].startswith(prefix)]
    state = {e["key"].removeprefix(prefix): drawn(e) for e in entries}
    missing, unexpected = module.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith(("style.", "noises.")) or key.endswith("kernel") for key in missing)


@cache
def generator(case: str) -> Generator:
    """The generator of a record, with its weights."""
    manifest, _ = RECORDS.read(case)
    s = manifest["settings"]
    net = Generator(
        Architecture(s["size"], s["style_dim"], s["n_mlp"], published_channels(s["channel_multiplier"]))
    )
    filled(net, manifest)
    return net.requires_grad_(False)


@pytest.mark.parametrize("case", cases("mapping"))
def test_styleclip_mapping_network(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    width = s["style_dim"]
    net = nn.Sequential(
        PixelNorm(), *(EqualLinear(width, width, s["lr_mlp"], leaky=True) for _ in range(s["n_mlp"]))
    )
    filled(net, manifest, "style.")
    w = net(made(manifest, "z"))
    close(w, record, manifest, "w", 1e-4)
    close(truncated(w, made(manifest, "mean_latent"), s["truncation"]), record, manifest, "truncated", 1e-4)


@pytest.mark.parametrize("case", cases("convolution"))
@torch.no_grad()
def test_styleclip_modulated_convolution(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    conv = ModulatedConv2d(
        s["in_channel"], s["out_channel"], s["kernel_size"], s["style_dim"], s["demodulate"], s["upsample"]
    )
    filled(conv, manifest, "conv.")
    x, style = made(manifest, "x"), conv.modulation(made(manifest, "w"))
    close(style, record, manifest, "style", 1e-4)
    close(conv(x, style), record, manifest, "out", 1e-4)
    shifted = style + made(manifest, "style_shift").flatten(1)
    close(conv(x, shifted), record, manifest, "out_style", 1e-4)


@pytest.mark.parametrize("case", cases("layers"))
@torch.no_grad()
def test_styleclip_layers(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    up = StyledConv(s["in_channel"], s["out_channel"], s["style_dim"], upsample=True)
    plain = StyledConv(s["out_channel"], s["out_channel"], s["style_dim"])
    rgb = ToRGB(s["out_channel"], s["style_dim"])
    for module, prefix in ((up, "convs.0."), (plain, "convs.1."), (rgb, "to_rgbs.0.")):
        filled(module, manifest, prefix)
    w = made(manifest, "w")
    y = up(made(manifest, "x"), up.conv.modulation(w[:, 0]), made(manifest, "noise_0"))
    close(y, record, manifest, "after_up", 1e-4)
    y = plain(y, plain.conv.modulation(w[:, 1]), made(manifest, "noise_1"))
    close(y, record, manifest, "after_plain", 1e-4)
    close(rgb(y, rgb.conv.modulation(w[:, 2]), made(manifest, "skip")), record, manifest, "rgb", 1e-4)


@pytest.mark.parametrize("case", cases("generator"))
@torch.no_grad()
def test_styleclip_generator(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s, net = manifest["settings"], generator(case)
    assert net.style_widths == s["style_dimensions"]
    noise = None
    if s["mode"] == "w":
        w_plus = net.widen(made(manifest, "w"))
    elif s["mode"] == "stylespace":
        w_plus = made(manifest, "w_plus")
    else:
        first, second = (
            truncated(net.map(made(manifest, f"z_{k}")), made(manifest, "mean_latent"), s["truncation"])
            for k in (0, 1)
        )
        w_plus = net.mix(first, second, s["inject_index"])
        close(w_plus, record, manifest, "latent", 2e-4)
        noise = [made(manifest, f"noise_{k}") for k in range(1 + 2 * len(net.sides))]
    styles = net.styles(w_plus)
    for k, style in enumerate(styles):
        close(style, record, manifest, f"styles_{k}", 2e-4)
    if s["mode"] == "stylespace":
        close(net.synthesise(styles), record, manifest, "image_before", 2e-4)
        for layer, channel, add in s["edits_layer_channel_add"]:
            styles[layer][:, channel] += add
    close(net.synthesise(styles, noise), record, manifest, "image", 2e-4)


@pytest.mark.parametrize("case", cases("mapper"))
@torch.no_grad()
def test_styleclip_mapper(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    if "s_0" in manifest["arrays"]:
        styles = [
            made(manifest, f"s_{k}").flatten(1)
            for k in range(sum(name.startswith("s_") for name in manifest["arrays"]))
        ]
        mapped = {int(e["key"].split(".")[1].removeprefix("mapper_")) for e in manifest["state"]}
        without = [k for k in range(len(styles)) if k not in mapped]
        net: nn.Module = mapper.StyleSpaceMapper([style.shape[1] for style in styles], without)
        filled(net, manifest, "mapper.")
        changes = net(styles)
        for k, (style, change) in enumerate(zip(styles, changes, strict=True)):
            close(change, record, manifest, f"delta_{k}", 1e-4)
            if f"edited_{k}" in manifest["arrays"]:
                close(style + s.get("factor", mapper.FACTOR) * change, record, manifest, f"edited_{k}", 1e-4)
        return
    w = made(manifest, "w_plus")
    names = {"no_coarse_mapper": "course", "no_medium_mapper": "medium", "no_fine_mapper": "fine"}
    net = mapper.LevelsMapper(w.shape[2], w.shape[1], [name for key, name in names.items() if s[key]])
    filled(net, manifest, "mapper.")
    close(net(w), record, manifest, "delta", 1e-4)
    assert s["factor"] == mapper.FACTOR
    close(mapper.edited(net, w), record, manifest, "edited", 1e-4)


@pytest.mark.parametrize("case", cases("direction"))
def test_styleclip_global_direction(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s = manifest["settings"]
    sign = torch.tensor([-1.0, 1.0])[:, None]
    features = (
        made(manifest, "feature_base")[None, :, None]
        + 0.35 * sign * made(manifest, "feature_move")[:, None, None]
        + 0.25 * made(manifest, "feature_jitter")
    )
    channels = global_direction.relevance(features[:, :, 0], features[:, :, 1])
    close(channels, record, manifest, "relevance", 1e-4)
    texts = made(manifest, "text_mean") + 0.3 * made(manifest, "text_noise")
    text = global_direction.text_direction(texts[0], texts[1])
    close(text, record, manifest, "delta_t", 1e-4)
    layers = range(len(s["style_dimensions"]))
    found = global_direction.direction(
        channels, text, [made(manifest, f"std_{k}") for k in layers], s["to_rgb_layers"], s["beta"]
    )
    close(found.scores, record, manifest, "score", 1e-4)
    assert found.chosen.sum() == record["selected"].item()
    assert found.chosen.nonzero().flatten().tolist() == record["selected_channels"].tolist()
    close(torch.cat(found.layers), record, manifest, "direction", 1e-4)
    moved = global_direction.moved([made(manifest, f"s_{k}") for k in layers], found.layers, s["alphas"])
    close(torch.cat(moved, -1), record, manifest, "edited", 1e-4)


@pytest.mark.parametrize("case", cases("resize"))
def test_styleclip_resize(case: str) -> None:
    manifest, record = RECORDS.read(case)
    close(optimization.resized(made(manifest, "image")), record, manifest, "resized", 1e-5)


@pytest.mark.parametrize("case", cases("optimization"))
def test_styleclip_optimization(case: str) -> None:
    manifest, record = RECORDS.read(case)
    s, net = manifest["settings"], generator(case)
    projection = made(manifest, "projection")

    def see(images: Tensor) -> Tensor:
        return F.avg_pool2d(optimization.resized(images), 28).flatten(1) @ projection

    settings = optimization.OptimizationSettings(
        s["steps"], s["lr"], (s["l2_lambda"],), s["id_lambda"], s["work_in_stylespace"]
    )
    w, text = made(manifest, "w_plus"), F.normalize(made(manifest, "text_feature"), dim=-1)
    rates = [optimization.rate_at(k, s["steps"], s["lr"]) for k in range(s["steps"])]
    close(torch.tensor(rates), record, manifest, "lr", 1e-5)
    steps = list(optimization.optimize(net, w, text, see, settings))
    close(steps[0].images, record, manifest, "image_first", 2e-4)
    clip = torch.cat([step.clip for step in steps[: s["steps"]]])
    close(clip, record, manifest, "clip_loss", 5e-3)
    change = [b - a for a, b in zip(steps[0].latents, steps[-1].latents, strict=True)]
    if s["work_in_stylespace"]:
        change = [x for k, x in enumerate(change) if k not in net.to_rgb]
    close(torch.cat([x.flatten() for x in change]), record, manifest, "moved", 3e-2, 0.99)

    start = w.clone().requires_grad_()
    if s["work_in_stylespace"]:
        styles = [x.detach().requires_grad_() for x in net.styles(w)]
        leaves = [x for k, x in enumerate(styles) if k not in net.to_rgb]
        images = net.synthesise(styles)
    else:
        leaves, images = [start], net(start)
    loss = 1 - (F.normalize(see(images), dim=-1) * text).sum()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, leaves)])
    close(gradient, record, manifest, "gradient_first", 1e-3)


def test_every_styleclip_record_has_its_test() -> None:
    ours = [name for part in (*PARTS, "mapper") for name in cases(part)]
    assert sorted(ours) == RECORDS.names and RECORDS.names
