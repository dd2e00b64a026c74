"""Sources of samples. One file each."""
