"""Storage of results: paths, atomic writes, locks, seals and reading."""
