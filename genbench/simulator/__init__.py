"""The embedded engine: an OpenAI-compatible server whose timing is known. Only ever its own process."""
