"""The embedded call-centre corpus, which replaces the papers' private corpora and can be rebuilt by anyone.

It has two-party calls from a grammar (grammar.py, domains/*.yaml) with values (values.py) and disfluencies
(disfluency.py), in five disjoint splits (splits.py).
"""

from speechllm_bench.data.corpora.call_centre.calls import recipe_hash, slot_types, utterances

__all__ = ["recipe_hash", "slot_types", "utterances"]
