"""How prompts with images are written for a model."""

from collections.abc import Sequence
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_shard.errors import PreparationRefused
from inlay_shard.images.frames import Frame

Piece = str | bytes | pb.ImageEmbeds
"""Text, an encoded image, or embeddings in its stead."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How prompts with images are written for a model."""

    image_token: str
    """Stands for an image in the text that the processor is given."""
    marker_id: int
    """The token id of `image_token`."""
    image_token_id: int
    """The placeholder: the token id that stands for one embedding."""
    wrapping: tuple[str, str] = ("", "")
    """What stands around an image and is left to the prompt by the processor."""
    reserved_tokens: tuple[str, ...] = ()
    """What no text may contain."""
    tokenizer_json: str = ""
    """The processor's tokenizer."""
    can_splice: bool = False
    """Whether prompts may be spliced: proven, see `splice_proof`."""
    can_splice_neighbours: bool = False
    """Whether they may where nothing stands between two images."""
    frame: Frame | None = None
    """What stands around an image; None where that differs, or was not looked for."""

    def write(self, pieces: Sequence[Piece]) -> str:
        """The text for the processor. Raises PreparationRefused for a reserved token in it."""
        text = ""
        before, behind = self.wrapping
        for piece in pieces:
            if isinstance(piece, str):
                self._check_text(piece)
                text += piece.removeprefix(behind) if text.endswith(behind) and behind else piece
            else:
                text += "" if before and text.endswith(before) else before
                text += self.image_token + behind
        return text

    def _check_text(self, text: str) -> None:
        for token in self.reserved_tokens:
            if token in text:
                raise PreparationRefused(
                    f"the text contains {token!r}, which this model keeps for what is not text"
                )
