"""Execution of a plan: preparation, processes and workers, and one run from training to score."""
