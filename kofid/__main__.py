"""Run the command line as ``python -m kofid``."""

from kofid.cli.app import main

main()
