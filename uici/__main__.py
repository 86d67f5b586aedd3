"""``python -m uici``: the command line. Nothing else is here."""

from uici.cli import main

if __name__ == "__main__":
    main()
