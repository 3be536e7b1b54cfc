"""The texts and utterances that the embedded backbones learn from.

The checkpoints of a training hold for these files alone: with any other it begins anew.
"""
