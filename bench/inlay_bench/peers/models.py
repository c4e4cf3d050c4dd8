"""The models that engines are compared on, and each in the forms that engines read."""

import hashlib
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import inlay_bench
from inlay_bench.peers.environment import python_of, run
from inlay_bench.peers.recipe import LLAMA_CPP, OPENVINO, Form, Kind
from inlay_bench.peers.text_model import QWEN, SMOL, TextModel, fingerprint
from inlay_bench.shape import SMOLVLM_SHAPE, TextShape, VisionShape

BENCH_HOME = Path(inlay_bench.__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model with random weights."""

    name: str
    kind: Kind
    title: str
    text: TextShape
    vision: VisionShape | None
    fingerprint: str
    command: tuple[str, ...]
    """Makes it, with the folder to come."""


def text_model(model: TextModel, title: str) -> Model:
    """A model that reads alone."""
    return Model(
        name=model.name,
        kind="text",
        title=title,
        text=model.shape,
        vision=None,
        fingerprint=hashlib.sha256(fingerprint(model)).hexdigest()[:12],
        command=("inlay_bench.peers.text_model", model.name),
    )


MODELS = {
    model.name: model
    for model in (
        text_model(SMOL, "SmolVLM-256M-shaped, its text tower"),
        text_model(QWEN, "Qwen2.5-0.5B-shaped"),
        Model(
            name="smolvlm",
            kind="image",
            title="SmolVLM-256M-shaped, eye and text tower",
            text=SMOLVLM_SHAPE.text,
            vision=SMOLVLM_SHAPE.vision,
            fingerprint=SMOLVLM_SHAPE.fingerprint,
            command=("inlay_bench.bench_model", "--shape", "smolvlm"),
        ),
    )
}


def model_in_form(model: Model, form: Form, folder: Path) -> Path:
    """The model under `folder`/models, made when it is missing. Raises PeerUnavailable.

    What converts it runs in the environment of the peer that reads it, under `folder`/peers.
    """
    original = (folder / "models" / f"{model.name}-{model.fingerprint}").absolute()
    if not original.exists():
        module, *rest = model.command
        make([sys.executable, "-m", module, *rest], original)
    if form == "safetensors":
        return original
    target = original.with_name(f"{original.name}.{form}")
    if not target.exists():
        make(converter(model, form, original, folder), target)
    return target


def converter(model: Model, form: Form, original: Path, folder: Path) -> list[str]:
    """The command that converts, with its target to come. Raises PeerUnavailable."""
    if form == "gguf":
        python = python_of(LLAMA_CPP, folder / "peers")
        return [str(python), "-m", "inlay_bench.adapters.to_gguf", str(original)]
    python = python_of(OPENVINO, folder / "peers")
    return [str(python), "-m", "inlay_bench.adapters.to_openvino", str(original)]


def make(command: list[str], target: Path) -> None:
    """Run a command that writes `target`, which is there whole or not at all."""
    unfinished = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if unfinished.is_dir():
        shutil.rmtree(unfinished)
    run([*command, str(unfinished)], BENCH_HOME)
    os.replace(unfinished, target)
