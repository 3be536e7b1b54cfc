"""Planning: studies as plans of runs, their digests, their places on disk, and estimates of their cost."""
