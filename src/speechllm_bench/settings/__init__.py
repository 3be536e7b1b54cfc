"""Typed settings of studies and profiles, read from YAML. Each variant resolves to the config of its run."""
