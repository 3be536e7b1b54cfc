"""Files of results: where they are, how they are written whole, locked, sealed and read back."""
