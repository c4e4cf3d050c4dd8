"""What TGI's guide to vision-language models shows, against a server with the embedded model."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import tgi_huggingface_hub
import tgi_openai
from harness import EXAMPLES, Server
from huggingface_hub import InferenceClient
from openai import OpenAI

ROOT = EXAMPLES.parent
ANSWER = "a red circle and two blue squares"
STREAMED = "a| red| circle| and| two| blue| squares"


@pytest.fixture
def client(server: Server) -> InferenceClient:
    return InferenceClient(server.url)


def test_markdown_in_the_prompt(client: InferenceClient) -> None:
    assert tgi_huggingface_hub.markdown_image(client) == f"{STREAMED}|<end_of_utterance>"


def test_a_chat(client: InferenceClient) -> None:
    assert tgi_huggingface_hub.chat(client) == ANSWER


def test_guided_json(client: InferenceClient) -> None:
    assert json.loads(tgi_huggingface_hub.guided_json(client))["count"] == 3


def test_a_guided_regex(client: InferenceClient) -> None:
    assert tgi_huggingface_hub.guided_regex(client) == "2"


def test_openais_client(server: Server) -> None:
    with OpenAI(base_url=f"{server.url}/v1", api_key="-") as client:
        assert tgi_openai.whole(client) == ANSWER
        assert tgi_openai.streamed(client) == STREAMED


def run(*command: str | Path) -> str:
    """Standard output of a program."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_curl(server: Server) -> None:
    *events, guided = filter(None, run(EXAMPLES / "tgi_curl.sh", server.url).splitlines())
    assert json.loads(events[-1].removeprefix("data: "))["generated_text"] == ANSWER
    assert json.loads(json.loads(guided)["generated_text"])["count"] == 3


def test_javascript(server: Server) -> None:
    node = shutil.which("node") or shutil.which("node", path=ROOT / ".venv" / "bin")
    client = ROOT / ".node-client"
    if node is None or not (client / "node_modules").exists():
        pytest.skip("node or .node-client is missing: the JavaScript client was NOT tested")
    script = shutil.copy(EXAMPLES / "tgi_javascript.mjs", client)  # node looks beside the script
    assert run(node, script, server.url, EXAMPLES / "shapes.png") == f"{ANSWER}\n"
