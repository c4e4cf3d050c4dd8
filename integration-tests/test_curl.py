"""What a person with a terminal sees."""

import json
import subprocess

from harness import EXAMPLES, Server, markdown

QUESTION = markdown(EXAMPLES / "shapes.png") + "What is this a picture of?\n\n"
ANSWER = "a red circle and two blue squares"


def curl(*arguments: str, stdin: str = "") -> str:
    """Standard output of curl."""
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "60", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def post(server: Server, route: str, body: object, *options: str) -> str:
    return curl(
        *options,
        "-H",
        "Content-Type: application/json",
        "--data-binary",
        "@-",
        server.url + route,
        stdin=json.dumps(body),
    )


def test_a_picture_question_streams_its_answer(server: Server) -> None:
    body = {"inputs": QUESTION, "parameters": {"max_new_tokens": 30, "details": True}}
    text = post(server, "/generate_stream", body, "-N")
    frames = text.split("\n\n")
    assert frames.pop() == ""
    assert all(frame.startswith("data: {") for frame in frames)
    events = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert [event["index"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["generated_text"] == ANSWER
    assert events[-1]["details"]["finish_reason"] == "eos_token"
    shown = "".join(e["token"]["text"] for e in events if not e["token"]["special"])
    assert shown == ANSWER
    assert all(event["generated_text"] is None for event in events[:-1])


def test_a_stream_carries_tgis_headers(server: Server) -> None:
    body = {"inputs": QUESTION, "parameters": {"max_new_tokens": 2}}
    head = post(server, "/generate_stream", body, "-N", "-i").split("\r\n\r\n")[0].lower()
    assert "200 ok" in head
    assert "content-type: text/event-stream" in head
    assert "x-accel-buffering: no" in head
    assert f"x-compute-characters: {len(QUESTION)}" in head


def test_generate_answers_an_object_and_the_root_an_array(server: Server) -> None:
    body = {"inputs": QUESTION, "parameters": {"max_new_tokens": 30, "return_full_text": False}}
    assert json.loads(post(server, "/generate", body)) == {"generated_text": ANSWER}
    assert json.loads(post(server, "/", body)) == [{"generated_text": ANSWER}]


def test_a_chat_as_a_whole_and_as_a_stream(server: Server) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0, "max_tokens": 5}
    message = json.loads(post(server, "/v1/chat/completions", body))["choices"][0]["message"]
    text = post(server, "/v1/chat/completions", {**body, "stream": True}, "-N")
    *frames, mark, rest = text.split("\n\n")
    assert (mark, rest) == ("data: [DONE]", "")
    deltas = [json.loads(one.removeprefix("data: "))["choices"][0]["delta"] for one in frames]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"] != ""


def test_health_info_and_metrics(server: Server) -> None:
    assert curl("-w", "%{http_code}", server.url + "/health") == "200"
    info = json.loads(curl(server.url + "/info"))
    assert info["model_id"] == "inlay/embedded"
    assert info["max_total_tokens"] > info["max_input_tokens"] > 0
    assert "tgi_request_count" in curl(server.url + "/metrics")
