"""Sentences a reader must see: what of a run is not there, by its header, and why it ended when it did."""

from collections.abc import Mapping
from typing import Any

CONVERSATIONS = (
    ("conversations_broken", "broke off at a turn that failed"),
    ("conversations_cut", "cut short by the end of the run"),
)


def of_the_end(header: Mapping[str, Any]) -> list[str]:
    """Which conversations are not whole or changed their connection, and what the run was stopped by knowing."""
    health = header.get("health")
    health = health if isinstance(health, Mapping) else {}
    notes = []
    for key, why in CONVERSATIONS:
        count = health.get(key)
        if count:
            notes.append(f"{count} conversation{'' if count == 1 else 's'} {why}: later turns were never sent")
    lost = health.get("session_connections_lost")
    if lost:
        notes.append(f"{lost} later turn{'' if lost == 1 else 's'} had to open a connection: their own had been closed")
    if header.get("stopped_at"):
        notes.append(f"the run was ended early: {header['stopped_at']}")
    notes += _not_known(header, health)
    return notes


def _not_known(header: Mapping[str, Any], health: Mapping[str, Any]) -> list[str]:
    """That --until-ci asked for more than the run came to know."""
    config = header.get("config")
    load = config.get("load") if isinstance(config, Mapping) else None
    asked = load.get("until_ci") if isinstance(load, Mapping) else None
    if not asked or header.get("stopped_at"):
        return []
    name, _, width = str(asked).partition(":")
    off = health.get("until_off_pct")
    found = f"only to {off:.2g} %" if isinstance(off, int | float) else "not at all"
    return [f"--until-ci was not reached: at the end {name} was known {found} instead of {width}"]
