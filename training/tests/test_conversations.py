"""Rows keep their questions apart, and teach exactly the answers."""

from random import Random

import pytest
import torch

from inlay_training.conversations import FORMS, Writer
from inlay_training.questions import KINDS, all_sentences
from inlay_training.rows import NOT_TAUGHT, ROW, Batch
from inlay_training.tokenizer import END, IMAGE, token_id, train_tokenizer
from inlay_training.world import draw_scene

TOKENIZER = train_tokenizer(all_sentences(Random(1), 2000))
SCENES = [draw_scene(Random(k)) for k in range(50)]


def batch_of(form: str) -> Batch:
    kinds = dict.fromkeys(KINDS, 1.0)
    return next(Writer(TOKENIZER, SCENES, kinds, {form: 1.0}, Random(2)).batches(4))


@pytest.mark.parametrize("form", FORMS)
def test_answers_end_and_are_taught_one_token_early(form: str) -> None:
    batch = batch_of(form)
    end = token_id(TOKENIZER, END)
    for _, row, start, stop in batch.answers:
        labels = batch.labels[row, start:stop]
        taught = labels != NOT_TAUGHT
        assert (labels == batch.ids[row, start + 1 : stop + 1])[taught].all()
        assert labels[-1] == end
    assert (batch.labels != NOT_TAUGHT).sum() <= sum(
        stop - start for *_, start, stop in batch.answers
    )


@pytest.mark.parametrize("form", FORMS)
def test_there_are_nine_image_tokens_for_each_picture(form: str) -> None:
    batch = batch_of(form)
    image = token_id(TOKENIZER, IMAGE)
    assert batch.ids.eq(image).sum() == 9 * len(batch.pictures)


@pytest.mark.parametrize("form", ["plain", "chat", "two"])
def test_questions_see_the_picture_and_not_each_other(form: str) -> None:
    batch = batch_of(form)
    image = token_id(TOKENIZER, IMAGE)
    first, second = [answer for answer in batch.answers if answer[1] == 0][:2]
    start, stop = second[2], second[3]
    is_image = batch.ids[0].eq(image)
    assert batch.sees[0, 0, start:stop, is_image].all()
    assert not batch.sees[0, 0, start:stop, first[2] : first[3] + 1].any()
    assert not torch.triu(batch.sees[0, 0], diagonal=1).any()
    assert batch.sees.shape == (4, 1, ROW, ROW)


def test_later_turns_see_earlier_ones() -> None:
    batch = batch_of("turns")
    first, second = [answer for answer in batch.answers if answer[1] == 0][:2]
    assert batch.sees[0, 0, second[2], first[2] : first[3] + 1].all()


def test_any_text_survives_the_tokenizer() -> None:
    for text in ("a red circle", "héllo \t 世界 🙂\r\n  x ", '{"a": [1, 2.5e3]}', "\x00\x7f"):
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == text
