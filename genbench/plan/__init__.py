"""What a run sends and when, fixed before the clock starts."""
