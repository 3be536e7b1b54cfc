"""Scores answers: floors, counts, intervals, and variances between seeds."""
