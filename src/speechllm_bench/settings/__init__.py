"""What a study and a profile say: YAML, typed, and each variant resolved to the settings of its run."""
