"""`python -m tdscale`."""

from tdscale.cli import main

if __name__ == "__main__":
    main()
