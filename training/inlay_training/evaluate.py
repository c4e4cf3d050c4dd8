"""Asks the shipped model about scenes that training never saw, and counts exact answers."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import outlines
import torch
from outlines.inputs import Image as GrammarImage
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay_training.cases import FORMS, SCHEMA_KIND, Case, draw_cases, draw_file, find
from inlay_training.descriptions import to_json
from inlay_training.world import COLOR_NAMES, MAX_ITEMS, SHAPES, draw_held

SHIPPED = Path(__file__).parents[2] / "front" / "inlay" / "embedded_model"
NOT_PROMISED = frozenset({"what is there"})
PROMISED_SHARE = 0.95
BATCH = 50

OBJECTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "objects": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "color": {"enum": list(COLOR_NAMES)},
                    "shape": {"enum": list(SHAPES)},
                },
                "required": ["color", "shape"],
                "additionalProperties": False,
            },
        },
        "count": {"type": "integer"},
    },
    "required": ["objects", "count"],
    "additionalProperties": False,
}


class Model:
    """A model folder, loaded as any user would load it."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32) -> None:
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        network: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
        self.network = network.eval()

    def answer(self, cases: Sequence[Case]) -> list[str]:
        """What the model says, decoded greedily, in batches."""
        answers: list[str] = []
        for start in range(0, len(cases), BATCH):
            answers += self._answer_batch(cases[start : start + BATCH])
        return answers

    def render(self, turns: Sequence[tuple[str, str]]) -> str:
        """The chat template over (role, text) turns, up to the answer."""
        messages = [{"role": role, "content": text} for role, text in turns]
        text: str = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        return text

    @torch.inference_mode()
    def _answer_batch(self, cases: Sequence[Case]) -> list[str]:
        pictures = [list(case.pictures) for case in cases]
        inputs = self.processor(
            text=[case.text for case in cases],
            images=pictures if any(pictures) else None,
            padding=True,
            return_tensors="pt",
        )
        ids = self.network.generate(**inputs, max_new_tokens=160, do_sample=False)
        new_ids = ids[:, inputs["input_ids"].shape[1] :]
        answers: list[str] = self.processor.batch_decode(new_ids, skip_special_tokens=True)
        return answers


def share_under_schema(model: Model, num_scenes: int, rng: Random) -> tuple[int, int]:
    """(right, asked): the objects as JSON when a grammar allows nothing else."""
    generate = outlines.Generator(
        outlines.from_transformers(model.network, model.processor),
        outlines.json_schema(OBJECTS_SCHEMA),
        backend="llguidance",
    )
    num_right = 0
    for n in range(num_scenes):
        scene = draw_held(rng, held_out=True)
        picture, _, _ = draw_file(scene, rng)
        question = find("json", scene, rng)
        text = f"<image>{question.prompt}\n\n"
        if n % 2:
            text = model.render([("user", f"<image>{question.prompt}")])
        answer = generate([text, GrammarImage(picture)], max_new_tokens=160)
        num_right += answer == to_json(scene)
    return num_right, num_scenes


def _table(
    title: str,
    rows: Iterable[str],
    results: Sequence[tuple[Case, bool]],
    key: Callable[[Case], str],
) -> str:
    """Exact answers by `key` in percent: captions, counts, JSON, and all that is promised."""
    columns: dict[str, Callable[[Case], bool]] = {
        "caption": lambda case: case.kind == "caption",
        "count": lambda case: case.kind == "count",
        "json": lambda case: case.kind == "json",
        "all promised": lambda case: case.kind not in NOT_PROMISED,
    }
    lines = [f"| {title} | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for row in rows:
        cells = []
        for is_in in columns.values():
            hits = [right for case, right in results if is_in(case) and key(case) == row]
            cells.append(_percent(sum(hits), len(hits)))
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(num_right: int, num_asked: int) -> str:
    return f"{100 * num_right / num_asked:.1f}" if num_asked else "-"


def _print_kinds(results: Sequence[tuple[Case, bool]], under_schema: tuple[int, int]) -> list[str]:
    """A row for each kind of question; the kinds of which less is right than was promised."""
    by_kind: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for case, right in results:
        by_kind[case.kind][case.form].append(right)
    print(f"| question | {' | '.join(FORMS)} | all | promised |")
    print("| --- " * (len(FORMS) + 3) + "|")
    missed = []
    for kind, by_form in by_kind.items():
        rights = [right for form in by_form.values() for right in form]
        cells = [_percent(sum(by_form[form]), len(by_form[form])) for form in FORMS]
        cells.append(_percent(sum(rights), len(rights)))
        print(f"| {kind} | {' | '.join(cells)} | {'no' if kind in NOT_PROMISED else 'yes'} |")
        if kind not in NOT_PROMISED and sum(rights) < PROMISED_SHARE * len(rights):
            missed.append(kind)
    num_right, num_asked = under_schema
    print(f"| {SCHEMA_KIND} {'| ' * len(FORMS)}| {_percent(num_right, num_asked)} | yes |")
    return missed if num_right >= PROMISED_SHARE * num_asked else [*missed, SCHEMA_KIND]


def _print_pictures(results: Sequence[tuple[Case, bool]]) -> None:
    """What one picture's objects, size and format change."""
    one_picture = [(case, right) for case, right in results if case.num_items]
    counts = [str(n) for n in range(1, MAX_ITEMS + 1)]
    sizes = [f"up to {edge}" for edge in (128, 256, 512, 1024)]
    for table in (
        _table("objects", counts, one_picture, lambda case: str(case.num_items)),
        _table("longer side, pixels", sizes, one_picture, lambda case: case.canvas),
        _table("format", ["PNG", "JPEG", "WEBP"], one_picture, lambda case: case.file_format),
    ):
        print(f"\n{table}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="model folder")
    parser.add_argument("--scenes", type=int, default=300, help="scenes for each kind of question")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--errors", action="store_true", help="print wrong answers")
    return parser


def main() -> int:
    """Prints the tables; 1 if something promised is missed, else 0."""
    arguments = _parser().parse_args()
    torch.set_num_threads(1)  # the model is too small to be split: two threads take longer
    rng = Random(f"evaluate {arguments.seed}")
    model = Model(arguments.model, torch.bfloat16 if arguments.bfloat16 else torch.float32)
    cases = draw_cases(model.render, arguments.scenes, rng)
    cases.sort(key=lambda case: (len(case.pictures), len(case.answer)))
    answers = model.answer(cases)
    results = [(case, case.answer == answer) for case, answer in zip(cases, answers, strict=True)]
    missed = _print_kinds(results, share_under_schema(model, arguments.scenes, rng))
    _print_pictures(results)
    if arguments.errors:
        for case, answer in zip(cases, answers, strict=True):
            if case.answer != answer:
                print(f"{case.kind} ({case.form}): {case.text!r}: {case.answer!r}, not {answer!r}")
    if missed:
        print(f"\nless than {PROMISED_SHARE:.0%}: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
