"""What there is to run: studies as plans of runs, their digests and places, and what they would cost."""
