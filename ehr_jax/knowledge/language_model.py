"""The second extractor: a language model names the diseases of a note.

Each piece of a note is a question of its own to a server the user runs (`chat`). What it answers is
never trusted: it must be the JSON that was asked for, is asked for once more where it is not, and
passes REALM's filter like everything. A piece without a valid answer is left to the gazetteer, and
why is counted. Answers are kept by content, so a second run asks nothing.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import operator
import threading
from collections.abc import Sequence
from pathlib import Path

from ehr_jax import data_use, errors, storage
from ehr_jax.knowledge import chat, sentences

WORDS = 2000  # of a piece (EMERGE)
MOST_PIECES = 50  # of a note; the rest of one this long is left to the gazetteer
MOST_ENTITIES = 500  # of a piece
LONGEST_ENTITY = 200  # characters
GIVE_UP = 3  # pieces in a row that find the server down or slow, and no more are asked

PROMPT_VERSION = "1"  # change it with any word of the prompt: answers to another are not used
SYSTEM = """\
You read a part of a hospital patient's note and list the diseases it names, so that a program can
look them up. Rules:
1. List diseases, disorders and syndromes only: no symptoms, findings, drugs, procedures or persons.
2. Copy each name as it is written in the note. Name nothing that is not written there.
3. Answer with one JSON object and nothing else, in the form {"diseases": ["name", "name"]}. If the
note names no disease, answer {"diseases": []}.
Example. Note: "78M with COPD, s/p fall. Denies pain. On warfarin for atrial fibrillation."
Answer: {"diseases": ["COPD", "atrial fibrillation"]}"""
REPAIR = """\
That was not the JSON object that was asked for. Answer again with the object alone, in the form
{"diseases": ["name", "name"]}, and no other word."""
SCHEMA = {
    "type": "object",
    "properties": {
        "diseases": {
            "type": "array",
            "items": {"type": "string", "maxLength": LONGEST_ENTITY},
            "maxItems": MOST_ENTITIES,
        }
    },
    "required": ["diseases"],
    "additionalProperties": False,
}


@dataclasses.dataclass(frozen=True)
class Answers:
    """What became of the pieces that were asked about: `pieces` is the sum of the others.

    What is neither cached, answered nor repaired was left to the gazetteer. Answers can be added.
    """

    pieces: int = 0
    cached: int = 0
    answered: int = 0
    repaired: int = 0  # valid at the second request
    down: int = 0
    slow: int = 0
    refused: int = 0
    prose: int = 0
    invalid_json: int = 0
    other_schema: int = 0
    too_large: int = 0
    not_asked: int = 0  # the server was given up, or the note has too many pieces

    def __add__(self, other: "Answers") -> "Answers":
        return Answers(*map(operator.add, vars(self).values(), vars(other).values()))

    @property
    def fallbacks(self) -> int:
        return self.pieces - self.cached - self.answered - self.repaired


class LanguageModel:
    """A server's model as an extractor; `answers` counts what became of all pieces so far."""

    def __init__(self, server: chat.Server, cache: Path | str | None = None, workers: int = 4):
        """Opens the extractor; ConfigError where the server must not be asked (`chat.check`).

        Args:
          server: see `chat.Server`.
          cache: folder of answers, made private (mode 0700); None keeps none.
          workers: requests at a time.

        Raises KnowledgeError where the cache cannot be written.
        """
        chat.check(server)
        self.server, self.workers, self.answers = server, workers, Answers()
        self.cache = None if cache is None else _open_cache(Path(cache).expanduser())
        self._lost = 0  # pieces in a row that found the server down or slow
        self._lock = threading.Lock()

    def diseases(self, pieces: Sequence[str | None]) -> list[list[str] | None]:
        """Returns what the model names in each piece, or None where it gave no valid answer.

        A piece that is None is not asked about, and counted so.
        """
        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:
            found = list(pool.map(self._one, pieces))
        for outcome, _ in found:
            self.answers += Answers(pieces=1, **{outcome: 1})
        return [names for _, names in found]

    def _one(self, piece: str | None) -> tuple[str, list[str] | None]:
        """Returns what became of a piece, a field of Answers, and its diseases."""
        if piece is None:
            return "not_asked", None
        path = None if self.cache is None else _path(self.cache, self.server, piece)
        if path is not None and (known := _read(path)) is not None:
            return "cached", known
        if self._lost >= GIVE_UP:
            return "not_asked", None
        try:
            outcome, names = self._ask(piece)
        except chat.Failure as failure:
            self._count(failure.kind in (chat.DOWN, chat.SLOW))
            return failure.kind, None
        self._count(False)
        if path is not None:
            _write(path, names)
        return outcome, names

    def _ask(self, piece: str) -> tuple[str, list[str]]:
        messages = [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"Note:\n{piece}"},
        ]
        content = chat.ask(self.server, messages, SCHEMA)
        try:
            return "answered", parse(content)
        except chat.Failure:
            # A long wrong answer is cut: the model needs to see its form alone.
            said = {"role": "assistant", "content": content[:2000]}
            again = [*messages, said, {"role": "user", "content": REPAIR}]
            return "repaired", parse(chat.ask(self.server, again, SCHEMA))

    def _count(self, lost: bool) -> None:
        with self._lock:
            self._lost = self._lost + 1 if lost else 0
            if self._lost == GIVE_UP:
                print(
                    f"language model: {GIVE_UP} questions in a row found the server down or slow; "
                    "it is asked no more, the gazetteer takes its place",
                    flush=True,
                )


def pieces(note: sentences.Note, words: int = WORDS) -> list[tuple[int, int]]:
    """Returns (start, end) of the pieces of a note, of up to `words` words, end to end.

    A piece ends with a sentence, so no entity is cut and none has to be in two pieces: they do not
    overlap. (EMERGE cuts at words, and keeps four pieces of a note at random.)
    """
    cuts, held = [0], 0
    end = 0
    for sentence in note.sentences:
        size = len(note.text[sentence.start : sentence.end].split())
        if held and held + size > words:
            cuts.append(end)
            held = 0
        held, end = held + size, sentence.end
    cuts.append(len(note.text))
    return list(zip(cuts, cuts[1:], strict=False)) if note.sentences else []


def parse(content: str) -> list[str]:
    """Returns the diseases that an answer lists, distinct, in its order.

    What a model thought aloud and the fence around its JSON are taken off, nothing else is mended.
    Raises chat.Failure: PROSE, INVALID_JSON, OTHER_SCHEMA or TOO_LARGE.
    """
    text = content.rpartition("</think>")[2].strip()
    if text.startswith("```"):
        text = text.removeprefix("```").removeprefix("json").removesuffix("```").strip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise chat.Failure(chat.INVALID_JSON if text[:1] in ("{", "[") else chat.PROSE) from None
    if not isinstance(answer, dict) or set(answer) != {"diseases"}:
        raise chat.Failure(chat.OTHER_SCHEMA)
    names = answer["diseases"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise chat.Failure(chat.OTHER_SCHEMA)
    if len(names) > MOST_ENTITIES or any(len(name) > LONGEST_ENTITY for name in names):
        raise chat.Failure(chat.TOO_LARGE)
    return list(dict.fromkeys(filter(None, map(str.strip, names))))


def _open_cache(folder: Path) -> Path:
    """Makes the private folder of answers."""
    try:
        storage.make_folder(folder)
        data_use.note(folder, data_use.ANSWERS)
        for inside in folder.iterdir():
            storage.remove_partials(inside)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def _path(folder: Path, server: chat.Server, piece: str) -> Path:
    """Returns the file of a piece's answer: named by a hash of all that the answer rests on."""
    asked = (server.model, PROMPT_VERSION, server.seed, server.tokens, piece)
    name = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return folder / name[:2] / f"{name}.json"


def _read(path: Path) -> list[str] | None:
    """Returns a kept answer; None where there is none, or it is damaged and to be asked again."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, chat.Failure):
        return None


def _write(path: Path, names: list[str]) -> None:
    try:
        storage.make_folder(path.parent)
        storage.write_text(path, json.dumps({"diseases": names}))
    except OSError as error:
        raise _unwritable(path.parent.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> errors.KnowledgeError:
    return errors.KnowledgeError(
        f"{folder}: answers of the language model cannot be kept ({storage.reason(error)}); free "
        "some space or name another folder, then start again: what was kept is used"
    )
