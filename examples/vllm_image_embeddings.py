"""vLLM's image embeddings: a tensor (num_images, image_feature_size, hidden_size) for a picture."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay import LLM, SamplingParams
from inlay.model_folder import EMBEDDED_MODEL

PICTURES = Path(__file__).parent


def embed(name: str) -> torch.Tensor:
    """What the model's own eye makes of a picture: (1, image_feature_size, hidden_size)."""
    processor = AutoProcessor.from_pretrained(EMBEDDED_MODEL)
    model: Any = AutoModelForImageTextToText.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    inputs = processor(text="<image>", images=Image.open(PICTURES / name), return_tensors="pt")
    with torch.inference_mode():
        found = model.get_image_features(
            pixel_values=inputs["pixel_values"], pixel_attention_mask=inputs["pixel_attention_mask"]
        )
    return torch.stack(tuple(found.pooler_output))


def describe(llm: LLM, image_embeds: torch.Tensor) -> str:
    """What the embeddings show."""
    outputs = llm.generate(
        {
            "prompt": "<image>What is this a picture of?\n\n",
            "multi_modal_data": {"image": image_embeds},
        },
        SamplingParams(temperature=0.0, max_tokens=64),
    )
    return outputs[0].outputs[0].text


if __name__ == "__main__":
    with LLM() as llm:
        print(describe(llm, embed("triangles.png")))
