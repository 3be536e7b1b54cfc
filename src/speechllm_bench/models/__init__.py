"""The models: encoder, adapters, LLM, and the SpeechLLM that they form."""

import os

# On a CPU oneDNN, and ideep above it, store a compiled kernel for each shape, up to 1,024 each. Sequences are
# trimmed, so nearly every step has new shapes, and processes grew by gigabytes.
KERNELS = "128"  # more than the shapes of a step
for _name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_name, KERNELS)
