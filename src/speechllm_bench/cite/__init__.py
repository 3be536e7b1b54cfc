"""Citing numbers: as text, LaTeX, Markdown or BibTeX; checking a paper that cites them; why one is stale."""
