"""The `text_generation` 0.7.0 client, which needs an environment of its own."""

import json
import subprocess
from pathlib import Path

from harness import EXAMPLES, Server, markdown

ROOT = Path(__file__).parent.parent
ANSWER = "a red circle and two blue squares"


def test_every_call_of_the_client(server: Server, tmp_path: Path) -> None:
    interpreter = ROOT / ".venv-tgi-client" / "bin" / "python"
    assert interpreter.exists(), "run `make test`, which makes .venv-tgi-client"
    prompt = tmp_path / "prompt"
    prompt.write_text(markdown(EXAMPLES / "shapes.png") + "What is this a picture of?\n\n")
    script = Path(__file__).parent / "text_generation_client.py"
    done = subprocess.run(
        [interpreter, script, server.url, prompt], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["text"] == ANSWER
    assert report["stream"] == ANSWER
    assert report["stream_text"] == ANSWER
    assert report["async_text"] == ANSWER
    assert report["async_stream"] == ANSWER
    assert report["finish_reason"] == "eos_token"
    assert report["num_prefill"] > 10
    assert "`inputs` tokens + `max_new_tokens` must be <=" in report["refusal"]
    assert report["first_prefill_logprob"] is None
    assert report["sampled"].startswith("Hello there, world")
    assert report["sampled_stream"] == report["async_sampled"] == report["sampled"]
    assert report["seed"] == 0
    assert report["num_others"] == 1
    assert report["num_top_tokens"] == [3] * 4
    assert report["regex"].isdigit()
    assert isinstance(json.loads(report["json"])["count"], int)
    assert report["chat"] == report["async_chat"] != ""
    assert report["called"] == "count"
    assert 0 <= json.loads(report["arguments"])["number"] <= 9
