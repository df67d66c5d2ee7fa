"""`python -m flows.cli` is the `fuseline` command."""

from flows.cli import main

main()
