"""The models: encoder, adapters, LLM, and the SpeechLLM that they form."""
