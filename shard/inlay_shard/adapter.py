"""What the author of a model says of its images, where `transformers` has no convention for it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel
from transformers.configuration_utils import PretrainedConfig

from inlay_shard.errors import ModelRefused


class ImageAdapter(ABC):
    """How a model takes images in: the four facts that are otherwise found by probing.

    The image workers and the shard are processes of their own, with an adapter each: workers call
    `process` and `expand` for one image at a time, the shard calls `features` and `positions`.
    """

    image_token: ClassVar[str]
    """Text of a special token. In a prompt for the model one of it stands for one embedding."""
    num_position_axes: ClassVar[int] = 1
    """How many numbers the position of a token has; 3 for M-RoPE."""

    def __init__(self, folder: Path, config: PretrainedConfig) -> None:
        """Reads what it needs of the model folder; `super().__init__` reads the tokenizer.

        Raises ModelRefused when `image_token` is no special token of it.
        """
        self.folder = folder
        self.config = config
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        image_token_id = self.tokenizer.get_added_vocab().get(self.image_token)
        if image_token_id is None:
            raise ModelRefused(f"its tokenizer has no special token {self.image_token!r}")
        self.image_token_id = int(image_token_id)

    @abstractmethod
    def process(self, image: Image.Image) -> Mapping[str, Tensor]:
        """What the model is given of an image in RGB, by argument name.

        The first axis of each tensor counts images (or tiles, or patches): inputs of several
        images are joined along it where their other axes agree.
        """

    @abstractmethod
    def expand(self, inputs: Mapping[str, Tensor]) -> str:
        """What stands in the prompt for the image of which `process` made `inputs`: text with
        `image_token` once for each of its embeddings.
        """

    @abstractmethod
    def features(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Tensor:
        """Embeddings (n, hidden_size) of one image or several, joined: one for each `image_token`.

        inputs: on the model's device, numbers with a fraction in the type of its weights.
        """

    def positions(
        self, model: PreTrainedModel, token_ids: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor | None:
        """Positions (num_position_axes, tokens) of a whole prompt; None when they count up.

        token_ids: (tokens,). inputs: those of the images' inputs that take up to 4 KiB, joined.
        """
        return None
