"""Citation of numbers as text, LaTeX, Markdown or BibTeX; a check of papers that cite
them; causes of staleness.
"""
