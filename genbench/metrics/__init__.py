"""Records to numbers: definitions, summary, promises."""
