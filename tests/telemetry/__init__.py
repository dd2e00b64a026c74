"""Telemetry: names to words, figures of a window, the process that scrapes, and runs with it."""
