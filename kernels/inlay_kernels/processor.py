"""What the processor that kernels are compiled for can do."""

import os
from typing import Final

from llvmlite import binding  # type: ignore[import-untyped]

IS_X86: Final = binding.get_default_triple().startswith(("x86_64", "i686"))
"""Whether x86's own instructions may be named."""

_IS_CHOSEN: Final = "NUMBA_CPU_NAME" in os.environ or "NUMBA_CPU_FEATURES" in os.environ
"""Whether Numba was told to compile for another processor than this."""

HAS_BFLOAT16_PRODUCTS: Final = (
    IS_X86 and not _IS_CHOSEN and bool(binding.get_host_cpu_features().get("avx512bf16"))
)
"""Whether it multiplies pairs of bfloat16 and sums them in float32 (AVX512_BF16)."""
