import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inlay import load_image

STAR = Path(__file__).parents[2] / "examples" / "star.jpg"


@pytest.fixture
def address() -> Iterator[str]:
    """Where the star can be fetched from."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(STAR.read_bytes())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/star.jpg"
        server.shutdown()
        thread.join()


def test_an_image_comes_from_anywhere(address: str) -> None:
    star = Image.open(STAR).convert("RGB")
    uri = f"data:image/jpeg;base64,{base64.b64encode(STAR.read_bytes()).decode()}"
    for place in (STAR, str(STAR), STAR.as_uri(), uri, Image.open(STAR)):
        loaded = load_image(place)
        assert (loaded.mode, loaded.tobytes()) == ("RGB", star.tobytes())
    assert load_image(address, has_private_addresses=True).tobytes() == star.tobytes()


def test_private_addresses_are_refused_unless_meant(address: str) -> None:
    with pytest.raises(ValueError, match="no public address"):
        load_image(address)


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    file = tmp_path / "fake.png"
    file.write_text("words")
    with pytest.raises(ValueError, match="the image cannot be decoded"):
        load_image(file)
    with pytest.raises(ValueError, match="base64 encoding is invalid"):
        load_image("data:image/png;base64,!")
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none.png")
