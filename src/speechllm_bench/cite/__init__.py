"""Citation of numbers by id: their forms and slices, a check of papers, causes of staleness, and the ledger
of claims, which sets the papers' numbers beside ours.
"""
