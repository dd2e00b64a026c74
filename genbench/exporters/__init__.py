"""One file per output format: write(run, out) -> paths."""
