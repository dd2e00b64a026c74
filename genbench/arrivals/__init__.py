"""Arrival processes: send offsets of an open loop. One file each."""
