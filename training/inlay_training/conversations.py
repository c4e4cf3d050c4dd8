"""Packs many questions about few pictures into rows of tokens, each blind to the others."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random

from transformers import PreTrainedTokenizerFast

from inlay_training.model import NUM_IMAGE_TOKENS
from inlay_training.questions import (
    KINDS_ABOUT_TWO,
    Question,
    ask,
    ask_about_two,
    ask_without_picture,
    small_talk,
    vary,
)
from inlay_training.rows import NOT_TAUGHT, ROW, Batch, Row, to_batch
from inlay_training.tokenizer import (
    AROUND_IMAGE,
    ASSISTANT,
    END,
    IMAGE,
    PAD,
    SYSTEM,
    USER,
    WHOLE_IMAGE,
    token_id,
)
from inlay_training.world import Scene

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are a friendly assistant that looks at pictures.",
)

# What a row holds. In "plain", "chat" and "two", segment 0 is what all its questions look at.
FORMS = {
    "plain": "a picture, then questions that do not see each other",
    "chat": "the same in the chat template",
    "plain, picture last": "questions, each followed by a picture of its own",
    "chat, picture last": "the same in the chat template",
    "turns": "chats of several turns, each turn seeing those before it",
    "two": "two pictures, then questions that do not see each other",
    "text": "small talk and questions without a picture",
}


class Writer:
    """Writes rows of questions about a list of scenes, with given shares of kinds and forms."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        scenes: Sequence[Scene],
        kinds: Mapping[str, float],
        forms: Mapping[str, float],
        rng: Random,
    ) -> None:
        self._tokenizer = tokenizer
        self._scenes = scenes
        self._kinds = list(kinds)
        self._kind_weights = list(kinds.values())
        self._forms = list(forms)
        self._form_weights = list(forms.values())
        self._rng = rng
        self._encode = lru_cache(200_000)(self._encode_text)
        around, whole, image = (
            token_id(tokenizer, token) for token in (AROUND_IMAGE, WHOLE_IMAGE, IMAGE)
        )
        self._system, self._user, self._assistant, self._end = (
            token_id(tokenizer, token) for token in (SYSTEM, USER, ASSISTANT, END)
        )
        self._pad = token_id(tokenizer, PAD)
        self._picture = [around, whole, *[image] * NUM_IMAGE_TOKENS, around]

    def batches(self, num_rows: int) -> Iterator[Batch]:
        """Endless batches; each picture is met once before any is met again."""
        order: list[int] = []
        while True:
            rows = []
            for _ in range(num_rows):
                if len(order) < 40:
                    more = list(range(len(self._scenes)))
                    self._rng.shuffle(more)
                    order = more + order
                rows.append(self._write_row(order))
            yield to_batch(rows, self._pad)

    def _write_row(self, order: list[int]) -> Row:
        form = self._rng.choices(self._forms, self._form_weights)[0]
        row = Row()
        if form == "text":
            self._write_text(row)
        elif form in ("plain", "chat"):
            self._write_image_first(row, order.pop(), form == "chat")
        elif form == "two":
            self._write_two(row, [order.pop(), order.pop()])
        elif form == "turns":
            group = 0
            while len(row.ids) < ROW - 60:
                self._write_turns(row, order.pop(), group)
                group += 1
        else:
            group = 0
            while self._write_image_last(row, order.pop(), form.startswith("chat"), group):
                group += 1
        return row

    def _write_image_first(self, row: Row, picture: int, is_chat: bool) -> None:
        start = self._chat_start() if is_chat else []
        self._append(row, start + self._picture, 0, 0, 0)
        row.pictures.append(picture)
        offset = len(row.ids)
        segment = 1
        while True:
            question = self._ask(self._scenes[picture])
            if not self._append_answer(row, question, is_chat, 0, segment, offset):
                return
            segment += 1

    def _write_two(self, row: Row, pictures: list[int]) -> None:
        is_chat = self._rng.random() < 0.5
        between = self._encode(self._rng.choice(("", "", "\n")))[0]
        start = self._chat_start() if is_chat else []
        self._append(row, [*start, *self._picture, *between, *self._picture], 0, 0, 0)
        row.pictures += pictures
        offset = len(row.ids)
        scenes = [self._scenes[picture] for picture in pictures]
        segment = 1
        while True:
            kind = self._rng.choice(KINDS_ABOUT_TWO)
            question = ask_about_two(kind, scenes, self._rng)
            if not self._append_answer(row, question, is_chat, 0, segment, offset):
                return
            segment += 1

    def _write_text(self, row: Row) -> None:
        group = 0
        while True:
            rng = self._rng
            question = small_talk(rng) if rng.random() < 0.75 else ask_without_picture(rng)
            is_chat = rng.random() < 0.7
            if not self._append_answer(row, question, is_chat, group, 0, 0, is_start=True):
                return
            group += 1

    def _write_image_last(self, row: Row, picture: int, is_chat: bool, group: int) -> bool:
        question = self._ask(self._scenes[picture])
        rng = self._rng
        prompt = vary(question.prompt, rng) + rng.choice(("", "", " ", "\n"))
        before = self._encode(prompt)[0]
        if is_chat:
            before = [*self._chat_start(), *before]
            after = [self._end, self._assistant]
        else:
            after = list(self._encode(rng.choice(("", "\n", "\n\n")))[0])
        tokens = [*before, *self._picture, *after]
        answer, taught = self._encode_answer(question)
        if len(row.ids) + len(tokens) + len(answer) > ROW:
            return False
        self._append(row, [*tokens, *answer], group, 0, 0, len(tokens), taught, question.kind)
        row.pictures.append(picture)
        return True

    def _write_turns(self, row: Row, picture: int, group: int) -> None:
        """A chat about one picture in which each turn sees the turns before it."""
        rng = self._rng
        num_turns = rng.randint(2, 5)
        picture_turn = 1 if rng.random() < 0.2 else 0
        position = 0
        for turn in range(num_turns):
            if turn < picture_turn or (turn > picture_turn and rng.random() < 0.1):
                question = small_talk(rng)
            else:
                question = self._ask(self._scenes[picture])
            answer, taught = self._encode_answer(question)
            tokens = [
                *(self._chat_start() if turn == 0 else [self._user]),
                *(self._picture if turn == picture_turn else []),
                *self._encode(vary(question.prompt, rng))[0],
                self._end,
                self._assistant,
            ]
            if len(row.ids) + len(tokens) + len(answer) > ROW:
                return
            if turn == picture_turn:
                row.pictures.append(picture)
            kind = question.kind
            self._append(row, [*tokens, *answer], group, 0, position, len(tokens), taught, kind)
            position += len(tokens) + len(answer)

    def _append_answer(
        self,
        row: Row,
        question: Question,
        is_chat: bool,
        group: int,
        segment: int,
        offset: int,
        is_start: bool = False,
    ) -> bool:
        """Appends prompt and answer behind what is at `offset`; False if the row is full."""
        rng = self._rng
        prompt = vary(question.prompt, rng)
        if is_chat:
            if not is_start and rng.random() < 0.15:
                prompt = "\n" + prompt
            tokens = [*self._encode(prompt)[0], self._end, self._assistant]
            if is_start:
                tokens = [*self._chat_start(), *tokens]
        else:
            before = "" if is_start else rng.choice(("", "", "", "\n", " "))
            after = rng.choice(("", " ", "\n", "\n\n", "\n\n"))
            tokens = list(self._encode(before + prompt + after)[0])
        answer, taught = self._encode_answer(question)
        if len(row.ids) + len(tokens) + len(answer) > ROW:
            return False
        self._append(
            row, [*tokens, *answer], group, segment, offset, len(tokens), taught, question.kind
        )
        return True

    def _append(
        self,
        row: Row,
        tokens: Sequence[int],
        group: int,
        segment: int,
        offset: int,
        num_prompt: int | None = None,
        taught: Sequence[bool] = (),
        kind: str = "",
    ) -> None:
        start = len(row.ids)
        row.ids += tokens
        row.positions += range(offset, offset + len(tokens))
        row.groups += [group] * len(tokens)
        row.segments += [segment] * len(tokens)
        labels = [NOT_TAUGHT] * len(tokens)
        if num_prompt is not None:
            for k, is_taught in enumerate(taught, start=num_prompt):
                if is_taught:
                    labels[k - 1] = tokens[k]
            row.answers.append((kind, start + num_prompt - 1, start + len(tokens) - 1))
        row.labels += labels

    def _chat_start(self) -> list[int]:
        """Up to the text of the first turn of the user; now and then after a system prompt."""
        if self._rng.random() < 0.85:
            return [self._user]
        return [
            self._system,
            *self._encode(self._rng.choice(SYSTEM_PROMPTS))[0],
            self._end,
            self._user,
        ]

    def _ask(self, scene: Scene) -> Question:
        while True:
            kind = self._rng.choices(self._kinds, self._kind_weights)[0]
            question = ask(kind, scene, self._rng)
            if question is not None:
                return question

    def _encode_answer(self, question: Question) -> tuple[list[int], list[bool]]:
        """Tokens of the answer and its end, and which of them are taught."""
        ids, spans = self._encode(question.answer)
        taught = [
            not any(start < b and a < stop for a, b in question.dictated) for start, stop in spans
        ]
        return [*ids, self._end], [*taught, True]

    def _encode_text(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self._tokenizer(text, return_offsets_mapping=True)
        return encoded["input_ids"], encoded["offset_mapping"]
