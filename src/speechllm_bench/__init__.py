"""A reproducible benchmark suite for SpeechLLMs."""
