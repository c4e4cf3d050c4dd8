"""Where the images of a prompt are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlay_router.errors import ValidationError
from inlay_router.markdown import ImagePiece, TextPiece, split

A = "http://a/1.png"
B = "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("inputs", "pieces"),
    [
        ("text", [TextPiece("text")]),
        ("", []),
        (f"![]({A})", [ImagePiece(A)]),
        (f"a![]({A})b", [TextPiece("a"), ImagePiece(A), TextPiece("b")]),
        (f"![]({A})![]({B})", [ImagePiece(A), ImagePiece(B)]),
        (f"![]({A}) ![]({B})\n", [ImagePiece(A), TextPiece(" "), ImagePiece(B), TextPiece("\n")]),
        ("![](HTTPS://a)", [ImagePiece("HTTPS://a")]),
        ("![](Data:,x)", [ImagePiece("Data:,x")]),
        (f"![alt]({A})", [TextPiece(f"![alt]({A})")]),
        (f"! []({A})", [TextPiece(f"! []({A})")]),
        (f"[]({A})", [TextPiece(f"[]({A})")]),
        ("![](http://a", [TextPiece("![](http://a")]),
        ("![](http://a/(b)c)", [ImagePiece("http://a/(b"), TextPiece("c)")]),
        ("![](http://a\n/b)", [ImagePiece("http://a\n/b")]),
        ("!![](http://a)", [TextPiece("!"), ImagePiece("http://a")]),
        ("![](http://a![](http://b)", [ImagePiece("http://a![](http://b")]),
    ],
)
def test_pieces_stand_in_order(inputs: str, pieces: list[TextPiece | ImagePiece]) -> None:
    assert split(inputs, max_images=99) == pieces


def test_files_are_images_only_where_they_are_allowed() -> None:
    inputs = "![](file:///a.png)"
    with pytest.raises(ValidationError, match="invalid image content"):
        split(inputs, max_images=1)
    pieces = split(inputs, max_images=1, has_local_images=True)
    assert pieces == [ImagePiece("file:///a.png")]


@pytest.mark.parametrize(
    "url", ["", "x", " http://a", "ftp://a", "file:///etc/passwd", "data", "//a"]
)
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        split(f"look: ![]({url})", max_images=9)
    assert str(caught.value) == (
        f"Input validation error: invalid image content: ![]({url}). An image's address begins "
        "with http://, https:// or data:"
    )


def test_a_long_url_is_not_echoed() -> None:
    with pytest.raises(ValidationError) as caught:
        split(f"![]({'x' * 10_000})", max_images=9)
    assert len(str(caught.value)) < 250


@given(st.lists(st.sampled_from(["![](", ")", "![]", "(", "http://", "data:", "a", "\n"])))
def test_images_are_what_the_regex_of_tgi_matches(words: str) -> None:
    inputs = "".join(words)
    found = [match.group()[4:-1] for match in re.finditer(r"!\[\]\([^\)]*\)", inputs)]
    if not all(url.startswith(("http://", "https://", "data:")) for url in found):
        with pytest.raises(ValidationError):
            split(inputs, max_images=99)
        return
    pieces = split(inputs, max_images=99)
    assert [piece.url for piece in pieces if isinstance(piece, ImagePiece)] == found
    written = [p.text if isinstance(p, TextPiece) else f"![]({p.url})" for p in pieces]
    assert "".join(written) == inputs


def test_a_prompt_of_openings_is_read_once() -> None:
    class Counted(str):
        num_finds = 0

        def find(self, *arguments):  # type: ignore[no-untyped-def]
            Counted.num_finds += 1
            return str.find(self, *arguments)

    split(Counted("![](" * 100_000), max_images=9)
    assert Counted.num_finds <= 3


def test_images_are_counted_while_they_are_found() -> None:
    assert len(split("![](data:,x)" * 3, max_images=3)) == 3
    with pytest.raises(ValidationError) as caught:
        split("![](data:,x)" * 1_000_000, max_images=3)
    assert str(caught.value).endswith("`inputs` may hold up to 3 images. Given: at least 4")
