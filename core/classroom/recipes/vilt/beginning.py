"""What the miniature ViLT begins as: the image transformer of classroom-vit, and a head of attention that finds names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.classroom.recipes.common.miniature import Miniature
from core.classroom.recipes.common.running import fast_arithmetic
from core.classroom.recipes.vilt.pointing import covered, covering, naming_loss
from core.classroom.recipes.vilt.texts import FIRST, PAD, Tokens, names_of
from core.classroom.world.atlas import Atlas, open_atlas
from core.classroom.world.questions import answers, scenes
from core.classroom.world.scenes import Scenes, render
from core.classroom.world.specs import Spec
from core.vqa.vilt.network import ViltNetwork, image_tokens

SIZE = 64
CONTEXT = 24  # words of a text, [CLS] and [SEP] included
LOOK = 5  # the block whose first head is taught where to look: before it, patches do not say which thing they show
MORE = 1  # blocks after those of the image transformer, to make something of what was found there
ALOUD = 3.0  # how much these add at first
SHOWN, PART, ROUNDS, FINDING = (
    2000,
    100,
    8,
    3e-3,
)  # scenes on which that head begins, at once, how often, and the rate


def configuration(words: int, clip: Miniature) -> dict[str, Any]:
    """The miniature's ViltConfig: the sizes of the image transformer, the classroom's words and answers."""
    visual: Any = clip.model.visual
    block = visual.transformer.resblocks[0]
    return {
        "vocab_size": words,
        "max_position_embeddings": CONTEXT,
        "hidden_size": visual.conv1.out_channels,
        "num_hidden_layers": len(visual.transformer.resblocks) + MORE,
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.c_fc.out_features,
        "layer_norm_eps": 1e-5,
        "image_size": visual.image_size[0],
        "patch_size": visual.patch_size[0],
        "num_labels": len(answers()),
        "pad_token_id": PAD,
    }


@torch.no_grad()
def write_aloud(layer: Any) -> None:
    """Lets a new block add enough to be heard. Tokens are ten times as long by now as when they entered, and if it began at zero,
    the norm that follows would let nothing of it through for most of the run."""
    attention = layer.attention
    for linear in (attention.attention.query, attention.attention.key):
        nn.init.xavier_uniform_(linear.weight)
    nn.init.orthogonal_(attention.attention.value.weight)
    nn.init.orthogonal_(attention.output.dense.weight, ALOUD)


@torch.no_grad()
def begin(network: ViltNetwork, clip: Miniature, tokens: Tokens) -> None:
    """Puts the image transformer's weights into the body, and what the text tower says of names into the words.

    The norm in front of the first block, which ViLT does not have, becomes part of the patches: its mean and its gain are linear,
    and for the deviation of each patch stands that of an average one.
    """
    visual: Any = clip.model.visual
    body: Any = network.vilt
    blocks = visual.transformer.resblocks
    for layer in body.encoder.layer[len(blocks) :]:
        write_aloud(layer)
    for block, layer in zip(blocks, body.encoder.layer[: len(blocks)], strict=True):
        parts = zip(block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3), strict=True)
        attention = layer.attention.attention
        for linear, (weight, bias) in zip(
            (attention.query, attention.key, attention.value), parts, strict=True
        ):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        for mine, theirs in (
            (layer.attention.output.dense, block.attn.out_proj),
            (layer.intermediate.dense, block.mlp.c_fc),
            (layer.output.dense, block.mlp.c_proj),
            (layer.layernorm_before, block.ln_1),
            (layer.layernorm_after, block.ln_2),
        ):
            mine.load_state_dict(theirs.state_dict())
    body.layernorm.load_state_dict(visual.ln_post.state_dict())

    kernel, places = visual.conv1.weight, visual.positional_embedding
    norm, e = visual.ln_pre, body.embeddings
    example = render(scenes(64, 7, open_atlas()), open_atlas(), SIZE).picture
    patches = visual.conv1((example - clip.mean) / clip.std).flatten(2).transpose(1, 2) + places[1:]
    gain = norm.weight / patches.std(-1).median()
    # Twice, because ViLT's pixels lie in -1..1 and the miniature's in -2..2.
    scale = float(0.5 / clip.std.mean())
    e.patch_embeddings.projection.weight.copy_(scale * (kernel - kernel.mean(0)) * gain[:, None, None, None])
    e.patch_embeddings.projection.bias.copy_(norm.bias)
    e.position_embeddings[0, 1:] = (places[1:] - places[1:].mean(-1, keepdim=True)) * gain
    e.position_embeddings[0, 0] = 0
    e.cls_token.copy_(norm(visual.class_embedding + places[0])[None, None])
    e.token_type_embeddings.weight.zero_()

    # What a patch of the last block would have to be for the projection to say the same as the text tower.
    table = e.text_embeddings.word_embeddings.weight
    spoken = names_of(tokens, clip.texts)  # [V, D], zero for words of no name
    meant = spoken @ torch.linalg.pinv(visual.proj)
    meant = meant / visual.ln_post.weight
    named = spoken.norm(dim=1) > 0
    meant[named] /= meant[named].std(-1, keepdim=True)
    table[named] = 0.05 * (meant[named] + 0.3 * torch.randn_like(meant[named]))
    table[~named] = 0.05 * torch.randn_like(table[~named])
    table[PAD] = 0
    # The first word, which is pooled, begins as the class token, and the pooling as the projection.
    start = body.embeddings.cls_token[0, 0]
    table[FIRST] = 0.05 * (start - start.mean()) / start.std()
    e.text_embeddings.position_embeddings.weight[0] = 0
    e.text_embeddings.token_type_embeddings.weight[0] = 0
    body.pooler.dense.weight.copy_(visual.proj.T * (0.5 / (visual.proj.T.norm(dim=1, keepdim=True))))
    body.pooler.dense.bias.zero_()


def name_queries(network: ViltNetwork, parts: Tensor) -> Tensor:
    """What the head that is taught asks for with each concept's name: [C, size of a head].

    parts: [C, V] which words each name is made of.
    """
    body: Any = network.vilt
    e = body.embeddings
    text = e.text_embeddings
    words = parts @ text.word_embeddings.weight + text.token_type_embeddings.weight[0]
    return asked_by_head(network, text.LayerNorm(words) + e.token_type_embeddings.weight[0], "query")


def asked_by_head(network: ViltNetwork, hidden: Tensor, which: str) -> Tensor:
    """Queries or keys of the head that is taught, of what its block receives [..., W]."""
    body: Any = network.vilt
    layer = body.encoder.layer[LOOK]
    attention = layer.attention.attention
    linear = getattr(attention, which)
    size = attention.attention_head_size
    return F.linear(layer.layernorm_before(hidden), linear.weight[:size], linear.bias[:size])


def covers(drawn: Scenes, patch: int) -> Tensor:
    """Which share of each patch the box of each thing covers: [B, S, P]."""
    side = drawn.picture.shape[-1]
    return covered(drawn.boxes(), side, side // patch)


def find_names(network: ViltNetwork, names: Sequence[Tensor], spec: Spec, atlas: Atlas) -> None:
    """Fits the queries and keys of the head that is taught, and nothing else, so that patches answer the names of their things.

    It takes half a minute, and the head then picks two patches of five rightly among all names; learned from texts about images
    alone, that does not happen in an hour.

    Args:
        names: [C, V] for each language, which words each name is made of.
        spec: the scenes on which it is fitted.
    """
    body: Any = network.vilt
    config: Any = network.config
    device = body.embeddings.cls_token.device
    before, thing = [], []
    for start in range(0, len(spec), PART):
        part = spec.take(torch.arange(start, min(start + PART, len(spec))))
        drawn = render(part, atlas, SIZE)
        found = covering(covers(drawn, config.patch_size), part.concept, part.present).to(device)
        with torch.no_grad(), fast_arithmetic(device):
            image = image_tokens(network.vilt, (drawn.picture.to(device) - 0.5) / 0.5)
            hidden = image + body.embeddings.token_type_embeddings.weight[1]
            read = body.encoder(hidden, output_hidden_states=True).hidden_states[LOOK]
        before.append(read[:, 1:][found >= 0].float())
        thing.append(found[found >= 0])
    patches, things = torch.cat(before), torch.cat(thing)
    attention = body.encoder.layer[LOOK].attention.attention
    with torch.no_grad():
        for linear in (attention.query, attention.key):
            size = attention.attention_head_size
            nn.init.kaiming_uniform_(linear.weight[:size])
            nn.init.zeros_(linear.bias[:size])
    learned = [p for linear in (attention.query, attention.key) for p in linear.parameters()]
    optimizer = torch.optim.AdamW(learned, FINDING, weight_decay=0.0)
    for _ in range(ROUNDS):
        for rows in torch.randperm(len(things)).split(512):
            keys = asked_by_head(network, patches[rows], "key")[None]
            losses = [naming_loss(keys, things[rows][None], name_queries(network, parts)) for parts in names]
            optimizer.zero_grad(set_to_none=True)
            torch.stack(losses).mean().backward(inputs=learned)
            optimizer.step()
