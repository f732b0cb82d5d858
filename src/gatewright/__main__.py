"""`python -m gatewright`, where no command of that name is on the path."""

from gatewright.cli import main

main()
