"""From a corpus to instruction examples and stored encoder frames."""
