"""How the embedded backbones are made and measured: small models of the real architectures."""
