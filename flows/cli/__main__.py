"""`python -m fuseline.flows.cli` is the `fuseline` command."""

from fuseline.flows.cli import main

main()
