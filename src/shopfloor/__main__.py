"""`python -m shopfloor` is the command `shopfloor`."""

from shopfloor.apps.cli.main import main

main()
