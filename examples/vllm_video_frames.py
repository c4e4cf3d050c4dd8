"""vLLM's video as a list of pictures: frames in one message, within `limit_mm_per_prompt`."""

from pathlib import Path

from PIL import Image

from inlay import LLM, SamplingParams

PICTURES = Path(__file__).parent


def watch(llm: LLM) -> str:
    """Which of two frames shows more."""
    frames = [Image.open(PICTURES / name) for name in ("star.jpg", "four.webp")]
    content = [{"type": "image_pil", "image_pil": frame} for frame in frames]
    content.append({"type": "text", "text": "Which picture has more objects?"})
    outputs = llm.chat([{"role": "user", "content": content}], SamplingParams(temperature=0.0))
    return outputs[0].outputs[0].text


if __name__ == "__main__":
    with LLM(limit_mm_per_prompt={"image": 2}) as llm:
        print(watch(llm))
