"""What a server and its GPUs say of themselves: names to one vocabulary, a process that asks, figures of a run."""
