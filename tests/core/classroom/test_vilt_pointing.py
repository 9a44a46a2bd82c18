"""What teaches the words of ViLT's miniature where to look: targets from boxes, and losses that are small where they are met."""

from __future__ import annotations

import torch

from core.classroom.recipes.vilt.pointing import (
    covered,
    covering,
    likeness_loss,
    looking_loss,
    naming_loss,
    reading_loss,
    wanted,
)
from core.classroom.recipes.vilt.texts import Tokens
from core.classroom.world.concepts import by_name


def test_patches_are_covered_by_boxes() -> None:
    cover = covered(torch.tensor([[[4.0, 0.0, 16.0, 8.0]]]), 64, 8)
    assert cover.shape == (1, 1, 64)
    assert torch.allclose(cover[0, 0, :3], torch.tensor([0.5, 1.0, 0.0]))
    assert float(cover.sum()) == 1.5


def test_names_point_to_their_things_or_to_the_class_token() -> None:
    cover = covered(
        torch.tensor([[[0.0, 0.0, 8.0, 8.0], [8.0, 0.0, 16.0, 8.0], [16.0, 0.0, 24.0, 8.0]]]), 64, 8
    )
    concept, present = torch.tensor([[5, 5, 9]]), torch.tensor([[True, True, False]])
    named = torch.tensor([[[-1, 5, 9]]])
    target = wanted(named, concept, present, cover)
    assert target.shape == (1, 1, 3, 65)
    assert float(target[0, 0, 0].sum()) == 0
    assert target[0, 0, 1].nonzero()[:, 0].tolist() == [1, 2]  # both things of the name
    assert target[0, 0, 2].nonzero()[:, 0].tolist() == [0]  # a thing that is not there
    assert covering(cover, concept, present)[0, :4].tolist() == [5, 5, -1, -1]


def test_the_losses_are_small_where_words_look_right() -> None:
    target = torch.zeros(2, 5)
    target[0, 2] = target[1, 0] = 1
    right, wrong = torch.eye(5)[[2, 0]], torch.eye(5)[[1, 1]]
    assert float(looking_loss(right, target)) < 0.01 < 5 < float(looking_loss(wrong, target))
    queries = 20 * torch.eye(4)
    thing = torch.tensor([[1, -1, 3]])
    keys = torch.eye(4)[[1, 0, 3]][None]
    assert (
        float(naming_loss(keys, thing, queries)) < 0.01 < 5 < float(naming_loss(keys.flip(1), thing, queries))
    )
    words, patches = torch.eye(4)[None, None, :3], torch.eye(4)[None, [3, 1, 0]]
    real = torch.tensor([[[False, True, True]]])
    place = torch.zeros(1, 1, 3, 3)
    place[0, 0, 1, 1] = 1
    here = float(likeness_loss(words, patches, real, place))
    place[0, 0, 1] = torch.tensor([0.0, 0.0, 1.0])
    assert here < 0.01 < 5 < float(likeness_loss(words, patches, real, place))


def test_names_are_found_in_texts_of_both_languages() -> None:
    tokens = Tokens()
    dog, cat = by_name()["dog"].index, by_name()["cat"].index
    for text, which in (
        ("is the dog left of the cat?", [dog, cat]),
        ("狗在猫的左边还是右边？", [dog, cat]),
        ("how many dogs are there?", [dog]),
    ):
        ids = tokens.library.encode(text).ids
        named = tokens.naming(ids, [dog, cat])
        assert [one for one in named if one >= 0] == which
    parts = tokens.parts("en")
    assert torch.allclose(parts.sum(1), torch.ones(len(parts)))
    assert int(parts[dog].argmax()) == tokens.library.token_to_id("dog")


def test_the_first_word_reads_both_names() -> None:
    named = torch.tensor([[[-1, 7, 7, -1, 4]], [[-1, 3, -1, -1, -1]]])
    reads = torch.zeros(2, 2, 1, 5)
    reads[0, 0, 0, 1:3] = 0.5
    reads[0, 1, 0, 4] = 1
    reads[1, :, 0, 1] = 1
    assert float(reading_loss(reads, named)) < 0.01 < 4 < float(reading_loss(reads.flip(0), named))
    swapped = float(reading_loss(reads.flip(1), named))
    assert swapped > 3  # which head reads which name is told
