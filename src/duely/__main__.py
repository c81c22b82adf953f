"""`python -m duely` is the same as `duely`."""

from duely.cli.start import main

if __name__ == "__main__":
    main()
