"""Figures: one file each, its numbers (`data`) apart from its drawing (`chart`)."""
