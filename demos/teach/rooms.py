"""Classes in memory: who has joined, where the teacher is, and what was predicted. It knows of no server and of no page.

A class has a code that pupils type, a key with which its teacher leads, and a word with which the teacher's screen reads the
counts. A pupil is a random name that the class gives out: nobody says who they are. Nothing is written to a disk.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.errors import Refusal

# Without signs that are taken for one another: 0 O, 1 I L.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
LETTERS = 6  # 31 ** 6 = 887 million codes
LASTING = 4 * 3600.0  # seconds until a class is over
PUPILS = 200  # in a class
ROOMS = 24  # classes at a time
LOBBY = -1  # the step before the first: pupils join

VOTE, SECOND, ANSWER = "vote", "second", "answer"  # phases of a step


@dataclass
class Ballot:
    """The votes on one step: a choice for each pupil, before and after the discussion."""

    choices: int
    phase: str = VOTE
    first: dict[str, int] = field(default_factory=dict)
    second: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int | None] = field(default_factory=dict)  # the choice that came true, by language

    @property
    def has_second(self) -> bool:
        """Whether the class was asked twice."""
        return self.phase == SECOND or bool(self.second)

    def votes(self) -> dict[str, int]:
        """The votes of the open round; of the last one when the answer is shown."""
        return self.second if self.has_second else self.first

    def counts(self) -> tuple[list[int], list[int] | None]:
        """Votes by choice before the discussion, and after it where there was a second vote."""
        after = self._counted(self.second) if self.has_second else None
        return self._counted(self.first), after

    def _counted(self, votes: dict[str, int]) -> list[int]:
        made = list(votes.values())
        return [made.count(choice) for choice in range(self.choices)]


class Room:
    """One class.

    Args:
        code: what pupils type.
        plan: the name of its plan.
        choices: how many choices each step of the plan has.
        now: seconds of a clock that does not jump.
    """

    def __init__(self, code: str, plan: str, choices: Sequence[int], now: float) -> None:
        self.code = code
        self.plan = plan
        self.key = secrets.token_urlsafe(18)
        self.word = secrets.token_urlsafe(18)
        self.ends = now + LASTING
        self.at = LOBBY
        self.is_closed = False  # to new pupils
        self.is_over = False
        self.version = 0  # of what everybody sees
        self.count = 0  # of what the teacher sees
        self.pupils: set[str] = set()
        self.ballots = [Ballot(count) for count in choices]
        self._pupils_listen: set[Callable[[], None]] = set()
        self._teacher_listens: set[Callable[[], None]] = set()

    # --- who listens ---

    def listen(self, changed: Callable[[], None], is_teacher: bool) -> Callable[[], None]:
        """Calls `changed` after every change that pupils (or the teacher) see; returns what ends that."""
        listeners = self._teacher_listens if is_teacher else self._pupils_listen
        listeners.add(changed)
        if not is_teacher:  # the teacher sees how many are connected
            self._tell(everybody=False)

        def leave() -> None:
            listeners.discard(changed)
            if not is_teacher:
                self._tell(everybody=False)

        return leave

    @property
    def connected(self) -> int:
        """How many screens of pupils listen."""
        return len(self._pupils_listen)

    @property
    def is_left(self) -> bool:
        """Whether nobody listens any more."""
        return not self._pupils_listen and not self._teacher_listens

    def _tell(self, everybody: bool = True) -> None:
        self.count += 1
        self.version += everybody
        for changed in [*self._teacher_listens, *(self._pupils_listen if everybody else ())]:
            changed()

    # --- the teacher ---

    @property
    def ballot(self) -> Ballot | None:
        """The votes on the step that the class is at; None before the first."""
        return None if self.at == LOBBY else self.ballots[self.at]

    def move(self, at: int) -> None:
        """Goes to a step; everybody follows.

        Raises:
            Refusal: "no_such_step".
        """
        if not LOBBY <= at < len(self.ballots):
            raise Refusal("no_such_step", count=len(self.ballots))
        self.at = at
        self._tell()

    def vote_again(self) -> None:
        """Opens the second vote, after the discussion."""
        ballot = self._open_ballot()
        ballot.phase = SECOND
        self._tell()

    def reveal(self, answers: dict[str, int | None]) -> None:
        """Shows the answer on all screens; votes are closed.

        Args:
            answers: the choice that came true, by language; None where none of them did.
        """
        ballot = self._open_ballot()
        ballot.phase, ballot.answers = ANSWER, answers
        self._tell()

    def _open_ballot(self) -> Ballot:
        ballot = self.ballot
        if ballot is None or ballot.phase == ANSWER:
            raise Refusal("vote_closed")
        return ballot

    def close(self, is_closed: bool) -> None:
        """Lets nobody new in, or lets them in again; who has joined stays."""
        self.is_closed = is_closed
        self._tell(everybody=False)

    def end(self) -> None:
        """The class is over, on all screens."""
        self.is_over = True
        self._tell()

    # --- pupils ---

    def join(self) -> str:
        """The name of a new pupil, known to that pupil alone.

        Raises:
            Refusal: "class_closed", "class_full".
        """
        if self.is_closed:
            raise Refusal("class_closed")
        if len(self.pupils) >= PUPILS:
            raise Refusal("class_full", count=PUPILS)
        pupil = secrets.token_urlsafe(12)
        self.pupils.add(pupil)
        self._tell(everybody=False)
        return pupil

    def vote(self, pupil: str, at: int, choice: int) -> None:
        """Takes a pupil's prediction; another one in the same round replaces it.

        Raises:
            Refusal: "not_joined", "class_moved_on", "vote_closed", "no_such_choice".
        """
        if pupil not in self.pupils:
            raise Refusal("not_joined")
        ballot = self.ballot
        if ballot is None or at != self.at:
            raise Refusal("class_moved_on")
        if ballot.phase == ANSWER:
            raise Refusal("vote_closed")
        if not 0 <= choice < ballot.choices:
            raise Refusal("no_such_choice")
        ballot.votes()[pupil] = choice
        self._tell(everybody=False)


def same(secret: str, given: str) -> bool:
    """Whether a secret was given, in a time that tells nothing of it."""
    return hmac.compare_digest(secret.encode(), given.encode())


class Rooms:
    """The classes of this server.

    Args:
        clock: seconds of a clock that does not jump.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._rooms: dict[str, Room] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def open(self, plan: str, choices: Sequence[int]) -> Room:
        """A new class.

        Raises:
            Refusal: "classes_full" where all places are taken by classes that somebody listens to.
        """
        self.sweep()
        if len(self._rooms) >= ROOMS:
            left = min(
                (room for room in self._rooms.values() if room.is_left), key=lambda r: r.ends, default=None
            )
            if left is None:
                raise Refusal("classes_full", count=ROOMS)
            self.end(left)
        code = self._code()
        while code in self._rooms:
            code = self._code()
        room = self._rooms[code] = Room(code, plan, choices, self.clock())
        return room

    @staticmethod
    def _code() -> str:
        return "".join(secrets.choice(ALPHABET) for _ in range(LETTERS))

    def find(self, code: str) -> Room:
        """The class with a code, however it was typed.

        Raises:
            Refusal: "no_class".
        """
        self.sweep()
        typed = "".join(sign for sign in code.upper() if sign.isalnum())
        if typed not in self._rooms:
            raise Refusal("no_class", typed=typed[:12])
        return self._rooms[typed]

    def led(self, code: str, key: str) -> Room:
        """The class that somebody leads who has its key.

        Raises:
            Refusal: "no_class", "not_the_teacher".
        """
        room = self.find(code)
        if not same(room.key, key):
            raise Refusal("not_the_teacher")
        return room

    def end(self, room: Room) -> None:
        """Ends a class and forgets it."""
        self._rooms.pop(room.code, None)
        room.end()

    def sweep(self) -> None:
        """Ends the classes whose time is over."""
        now = self.clock()
        for room in [room for room in self._rooms.values() if room.ends <= now]:
            self.end(room)
