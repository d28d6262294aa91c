"""Run the command line as ``python -m kofid``."""

from kofid.cli import main

main()
