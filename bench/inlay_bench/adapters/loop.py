"""Lines of JSON between the bench and an engine: one call a line in, one reply a line out."""

import base64
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from inlay_bench.adapters.stream import Engine, Load, Prompt, Stream

Reply = dict[str, Any]


def serve(load: Callable[[Load], Engine]) -> None:
    """Loads the engine that the first line describes, then answers until standard input ends.

    A call that fails is answered with its error; the engine stays.
    """
    replies = take_stdout()
    engine: Engine | None = None
    for line in sys.stdin.buffer:
        call = json.loads(line)
        try:
            if engine is None:
                engine = load(parse_load(call))
                reply: Reply = {"pid": os.getpid()}
            else:
                reply = generate(engine, call)
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()
    if engine is not None:
        engine.close()


def generate(engine: Engine, call: dict[str, Any]) -> Reply:
    """One batch; times count from the moment before it is handed over."""
    prompts = [parse_prompt(each) for each in call["prompts"]]
    start = time.perf_counter()
    streams = engine.generate(prompts, call["num_new_tokens"])
    return {"streams": [write_stream(stream, start) for stream in streams]}


def parse_load(call: dict[str, Any]) -> Load:
    """The first line."""
    return Load(**{**call, "folder": Path(call["folder"])})


def parse_prompt(each: dict[str, Any]) -> Prompt:
    """A prompt, its picture in base64."""
    picture = each["picture"]
    return Prompt(
        token_ids=each["token_ids"],
        text=each["text"],
        picture=None if picture is None else base64.b64decode(picture),
    )


def write_stream(stream: Stream, start: float) -> Reply:
    """Tokens, and seconds from the start to each."""
    return {
        "token_ids": list(stream.token_ids),
        "arrivals": [arrival - start for arrival in stream.arrivals],
    }


def take_stdout() -> BinaryIO:
    """Standard output for replies alone; whatever libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies
