"""Endpoint kinds: build a body, read a message. One file each."""
