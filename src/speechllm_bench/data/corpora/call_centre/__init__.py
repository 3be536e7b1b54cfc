"""A call centre that anyone can rebuild: the embedded stand-in for the papers' private corpora.

Two-party calls from a grammar (grammar.py, domains/*.yaml) with values (values.py) and
disfluencies (disfluency.py), in five disjoint splits (splits.py).
"""

from speechllm_bench.data.corpora.call_centre.calls import recipe_hash, slot_types, utterances

__all__ = ["recipe_hash", "slot_types", "utterances"]
