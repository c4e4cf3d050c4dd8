"""Converts a text model folder to OpenVINO's form, in the type in which it is stored."""

import sys
from pathlib import Path

from optimum.exporters.openvino import main_export


def main() -> None:
    """`python -m inlay_bench.adapters.to_openvino FROM TO`."""
    source, target = sys.argv[1:]
    main_export(
        source,
        Path(target),
        task="text-generation-with-past",
        convert_tokenizer=True,
        library_name="transformers",
        framework="pt",
    )


if __name__ == "__main__":
    main()
