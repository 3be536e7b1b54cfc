"""Pinned backbones and voices from the package index, converted on this machine: no account and no hub.

A wheel is taken as a file: it is never installed and never imported.
"""
