"""`python -m agentroute`: the command line, where no console script is on the path."""

from .cli import main

main()
