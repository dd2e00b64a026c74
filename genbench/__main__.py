"""`python -m genbench` is the same program as `genbench`."""

from genbench.cli.app import main

if __name__ == "__main__":
    main()
