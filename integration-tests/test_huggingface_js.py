"""`@huggingface/inference`, the JavaScript client, which needs node and a folder of its own."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import EXAMPLES, Server, markdown

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / ".node-client"
ANSWER = "a red circle and two blue squares"


@pytest.fixture(scope="module")
def report(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every call of the client gave."""
    node = shutil.which("node") or shutil.which("node", path=ROOT / ".venv" / "bin")
    if node is None or not (CLIENT / "node_modules").exists():
        pytest.skip("node or .node-client is missing: the JavaScript client was NOT tested")
    script = CLIENT / "huggingface_client.mjs"  # node looks for packages beside the script
    script.write_text((Path(__file__).parent / script.name).read_text())
    prompt = tmp_path_factory.mktemp("js") / "prompt"
    prompt.write_text(markdown(EXAMPLES / "shapes.png") + "What is this a picture of?\n\n")
    done = subprocess.run(
        [node, script, server.url, prompt], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


def test_text_generation(report: dict[str, Any]) -> None:
    assert report["text"] == ANSWER
    assert report["withFunctions"]["text"] == ANSWER


def test_text_generation_stream(report: dict[str, Any]) -> None:
    assert report["streamed"] == ANSWER
    assert ANSWER.startswith(report["withFunctions"]["first"])


def test_parameters_of_tgi_are_honoured(report: dict[str, Any]) -> None:
    assert len(report["constrained"]) == 3
    assert report["constrained"].isdigit()
    assert "top_p" in report["refusal"]


def test_chat(report: dict[str, Any]) -> None:
    assert report["chat"]["text"]
    assert report["chat"]["streamed"] == report["chat"]["text"]
