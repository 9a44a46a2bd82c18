"""Classes in memory: votes, phases, secrets and ends, with a clock of the test's own."""

from __future__ import annotations

import pytest

from core.errors import Refusal
from demos.teach import rooms
from demos.teach.rooms import ANSWER, LASTING, LETTERS, LOBBY, SECOND, Room, Rooms


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def room(clock: Clock) -> Room:
    """A class of two steps with three and two choices, at the first step."""
    made = Rooms(clock).open("minutes", [3, 2])
    made.move(0)
    return made


def test_votes_are_counted_before_and_after_the_discussion(room: Room) -> None:
    one, two, three = (room.join() for _ in range(3))
    for pupil, choice in ((one, 0), (two, 2), (three, 2)):
        room.vote(pupil, 0, choice)
    assert room.ballots[0].counts() == ([1, 0, 2], None)
    room.vote_again()
    room.vote(one, 0, 2)
    assert room.ballots[0].counts() == ([1, 0, 2], [0, 0, 1])
    room.reveal({"en": 2, "zh": 2})
    assert room.ballots[0].phase == ANSWER and room.ballots[0].counts() == ([1, 0, 2], [0, 0, 1])
    # Another step has votes of its own, and the first keeps its.
    room.move(1)
    assert room.ballots[1].counts() == ([0, 0], None)
    room.move(0)
    assert room.ballots[0].counts()[0] == [1, 0, 2]


def test_a_second_vote_without_votes_is_one_all_the_same(room: Room) -> None:
    room.vote_again()
    assert room.ballots[0].phase == SECOND and room.ballots[0].counts() == ([0, 0, 0], [0, 0, 0])


def test_a_pupil_has_one_vote(room: Room) -> None:
    pupil = room.join()
    for choice in (0, 1, 1, 2):
        room.vote(pupil, 0, choice)
    assert room.ballots[0].counts()[0] == [0, 0, 1]


@pytest.mark.parametrize(
    ("at", "choice", "code"),
    [(1, 0, "class_moved_on"), (0, 3, "no_such_choice"), (0, -1, "no_such_choice")],
)
def test_a_vote_that_fits_nothing_is_refused(room: Room, at: int, choice: int, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        room.vote(room.join(), at, choice)
    assert refused.value.code == code and room.ballots[0].counts()[0] == [0, 0, 0]


def test_nobody_votes_who_has_not_joined_or_when_the_answer_is_shown(room: Room) -> None:
    with pytest.raises(Refusal) as refused:
        room.vote("made up", 0, 0)
    assert refused.value.code == "not_joined"
    pupil = room.join()
    room.reveal({"en": 0, "zh": 0})
    for act in (lambda: room.vote(pupil, 0, 0), room.vote_again, lambda: room.reveal({})):
        with pytest.raises(Refusal) as refused:
            act()
        assert refused.value.code == "vote_closed"
    room.move(LOBBY)
    with pytest.raises(Refusal):
        room.vote_again()


def test_a_closed_class_lets_nobody_new_in(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    pupil = room.join()
    room.close(True)
    with pytest.raises(Refusal) as refused:
        room.join()
    assert refused.value.code == "class_closed"
    room.vote(pupil, 0, 1)
    room.close(False)
    monkeypatch.setattr(rooms, "PUPILS", 2)
    room.join()
    with pytest.raises(Refusal) as refused:
        room.join()
    assert refused.value.code == "class_full"


def test_pupils_hear_of_steps_and_the_teacher_of_votes_too(room: Room) -> None:
    heard: list[str] = []
    room.listen(lambda: heard.append("teacher"), is_teacher=True)
    leave = room.listen(lambda: heard.append("pupil"), is_teacher=False)
    assert heard == ["teacher"] and room.connected == 1  # somebody is connected
    pupil = room.join()
    room.vote(pupil, 0, 1)
    assert "pupil" not in heard and heard.count("teacher") == 3
    room.move(1)
    assert heard[-2:] == ["teacher", "pupil"] and not room.is_left
    leave()
    assert room.connected == 0
    heard.clear()
    room.move(0)
    assert heard == ["teacher"]


def test_codes_are_typed_as_people_type_and_secrets_are_long(clock: Clock) -> None:
    classes = Rooms(clock)
    made = classes.open("minutes", [2])
    assert len(made.code) == LETTERS and set(made.code) <= set(rooms.ALPHABET)
    typed = f" {made.code[:3].lower()}-{made.code[3:]} "
    assert classes.find(typed) is made
    assert len({made.key, made.word, made.join(), made.join()}) == 4
    assert min(map(len, (made.key, made.word, made.join()))) >= 16
    assert classes.led(made.code, made.key) is made
    for key in ("", made.word, made.key[:-1], made.join(), "钥匙"):
        with pytest.raises(Refusal) as refused:
            classes.led(made.code, key)
        assert refused.value.code == "not_the_teacher"


def test_classes_share_nothing(clock: Clock) -> None:
    classes = Rooms(clock)
    one, two = classes.open("minutes", [2]), classes.open("minutes", [2])
    pupil = one.join()
    one.move(0), two.move(0)
    with pytest.raises(Refusal):
        two.vote(pupil, 0, 0)
    with pytest.raises(Refusal):
        classes.led(two.code, one.key)
    one.vote(pupil, 0, 0)
    assert two.ballots[0].counts()[0] == [0, 0]


def test_a_class_is_over_after_four_hours_or_by_button(clock: Clock) -> None:
    classes = Rooms(clock)
    early = classes.open("minutes", [2])
    told: list[bool] = []
    early.listen(lambda: told.append(early.is_over), is_teacher=False)
    clock.now = LASTING - 1
    late = classes.open("minutes", [2])
    assert classes.find(early.code) is early
    clock.now = LASTING
    with pytest.raises(Refusal) as refused:
        classes.find(early.code)
    assert refused.value.code == "no_class" and told[-1] and len(classes) == 1
    classes.end(late)
    assert late.is_over and len(classes) == 0


def test_a_full_server_gives_up_the_oldest_class_that_all_have_left(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "ROOMS", 2)
    classes = Rooms(clock)
    first, second = classes.open("minutes", [2]), classes.open("minutes", [2])
    first.listen(lambda: None, is_teacher=True)
    third = classes.open("minutes", [2])
    assert second.is_over and not first.is_over and len(classes) == 2
    third.listen(lambda: None, is_teacher=False)
    with pytest.raises(Refusal) as refused:
        classes.open("minutes", [2])
    assert refused.value.code == "classes_full"


def test_a_step_that_is_none_is_refused(room: Room) -> None:
    for at in (-2, 2):
        with pytest.raises(Refusal) as refused:
            room.move(at)
        assert refused.value.code == "no_such_step"
