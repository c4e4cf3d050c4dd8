"""The offline API beside a server, in scripts, and with shards in processes of their own."""

import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness import EXAMPLES, Server, data_uri, post, wait_until
from PIL import Image

from inlay import LLM, EngineError, SamplingParams

SCENE = json.loads((EXAMPLES / "scene-grammar.json").read_text())["value"]
SHAPES = EXAMPLES / "shapes.png"


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    before = set(threading.enumerate())
    with LLM(dtype="float32", num_threads=1) as loaded:
        yield loaded
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not left & {"inlay", "steps", "encoder"}
    with pytest.raises(EngineError, match="the engine is closed"):
        loaded.generate("Hello!", use_tqdm=False)


CONTROLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0}, {"temperature": 0}),
    ({"temperature": 2.0, "seed": 7}, {"temperature": 2.0, "seed": 7}),
    (
        {"temperature": 2.0, "seed": 7, "top_p": 0.8, "top_k": 40, "n": 2},
        {"temperature": 2.0, "seed": 7, "top_p": 0.8, "top_k": 40, "n": 2},
    ),
    (
        {"temperature": 1.5, "seed": 1, "presence_penalty": 1.0, "repetition_penalty": 1.3},
        {"temperature": 1.5, "seed": 1, "presence_penalty": 1.0, "repetition_penalty": 1.3},
    ),
    (
        {"temperature": 1.5, "seed": 2, "grammar": SCENE},
        {
            "temperature": 1.5,
            "seed": 2,
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCENE}},
        },
    ),
]
IDS = ["greedy", "seed", "n", "penalties", "grammar"]


@pytest.mark.parametrize(("ours", "theirs"), CONTROLS, ids=IDS)
@pytest.mark.parametrize("has_image", [True, False], ids=["image", "text"])
def test_chats_are_answered_as_by_the_server(
    llm: LLM, server: Server, ours: dict[str, Any], theirs: dict[str, Any], has_image: bool
) -> None:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "Extract the objects as JSON."}]
    if has_image:
        parts.insert(0, {"type": "image_url", "image_url": {"url": data_uri(SHAPES)}})
    messages = [{"role": "user", "content": parts}]
    (output,) = llm.chat(messages, SamplingParams(max_tokens=60, **ours), use_tqdm=False)
    body = {"messages": messages, "max_tokens": 60, "logprobs": True, **theirs}
    status, answer, _ = post(f"{server.url}/v1/chat/completions", body)
    assert status == 200, answer
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [each.text for each in output.outputs] == texts
    logprobs = [entry["logprob"] for entry in answer["choices"][0]["logprobs"]["content"]]
    assert output.outputs[0].cumulative_logprob == pytest.approx(sum(logprobs), abs=1e-3)


@pytest.mark.parametrize("picture", ["shapes.png", "star.jpg", "four.webp"])
def test_a_picture_of_pil_is_seen_as_its_file(llm: LLM, server: Server, picture: str) -> None:
    question = "What is this a picture of?\n\n"
    prompt = {"prompt": question, "multi_modal_data": {"image": Image.open(EXAMPLES / picture)}}
    params = SamplingParams(temperature=2.0, seed=5, max_tokens=30)
    (output,) = llm.generate(prompt, params, use_tqdm=False)
    body = {
        "inputs": f"![]({data_uri(EXAMPLES / picture)}){question}",
        "parameters": {
            "temperature": 2.0,
            "seed": 5,
            "max_new_tokens": 30,
            "do_sample": True,
            "details": True,
        },
    }
    status, answer, _ = post(f"{server.url}/generate", body)
    assert status == 200, answer
    assert output.outputs[0].text == answer["generated_text"]
    token_ids = [token["id"] for token in answer["details"]["tokens"]]
    assert list(output.outputs[0].token_ids) == token_ids


def run_script(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False
    )


def test_a_script_needs_no_guard_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        f"""
        import psutil
        from PIL import Image
        from inlay import LLM, SamplingParams

        llm = LLM(num_threads=1)
        image = Image.open({str(SHAPES)!r})
        prompt = {{"prompt": "What is it?\\n\\n", "multi_modal_data": {{"image": image}}}}
        params = SamplingParams(temperature=0, max_tokens=30, grammar=r"a red .*")
        print(llm.generate(prompt, params, use_tqdm=False)[0].outputs[0].text)
        print(*(child.pid for child in psutil.Process().children(recursive=True)))
        """,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    answer, process_ids = done.stdout.splitlines()
    assert answer.startswith("a red ")
    assert len(process_ids.split()) >= 2  # one for pictures, one for grammars
    wait_until(lambda: not any(map(psutil.pid_exists, map(int, process_ids.split()))))


def shard_processes() -> list[psutil.Process]:
    below = psutil.Process().children(recursive=True)
    return [child for child in below if "inlay_shard" in child.cmdline()]


def test_a_model_may_be_split_over_processes_which_are_started_again() -> None:
    prompt = {
        "prompt": "Describe the picture.\n\n",
        "multi_modal_data": {"image": [data_uri(SHAPES)]},
    }
    params = SamplingParams(temperature=0, max_tokens=30)
    others = set(shard_processes())
    with LLM(dtype="float32", tensor_parallel_size=2, num_threads=1) as llm:
        (before,) = llm.generate(prompt, params, use_tqdm=False)
        shards = [process for process in shard_processes() if process not in others]
        assert len(shards) == 2
        shards[1].kill()
        (after,) = llm.generate(prompt, params, use_tqdm=False)
    assert before.outputs == after.outputs
    assert set(shard_processes()) <= others


def test_a_folder_that_is_no_model_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="holds no config.json"):
        LLM(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(EngineError, match="cannot serve .* has no weights"):
        LLM(str(tmp_path))
