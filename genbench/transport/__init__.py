"""Bytes out, (time, bytes) in."""
