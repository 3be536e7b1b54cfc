"""Training and measurement of the embedded backbones: small models of the real architectures."""
