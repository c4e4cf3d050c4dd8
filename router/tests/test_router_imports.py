"""The router starts in a moment: it never loads what only a shard or a compiler needs."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "outlines", "outlines_core", "llguidance", "numba", "PIL")

PICTURE = b"GIF89a\2\0\3\0\0\0\0,\0\0\0\0\1\0\1\0\0"


def test_heavy_packages_are_not_loaded() -> None:
    code = (
        "import sys, inlay_router.app, inlay_router.__main__;"
        "from inlay_router.images.image_header import read_size;"
        f"assert read_size({PICTURE!r}) == (2, 3);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
