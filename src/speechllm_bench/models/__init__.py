"""Encoder, adapters, LLM and the SpeechLLM they make."""
