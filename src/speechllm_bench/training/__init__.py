"""One training loop for the studies' stages and the zoo's backbones."""
