"""Training: one loop for the stages of the studies and for the backbones of the zoo."""
