"""`python -m weldgen.cli`."""

from weldgen.cli import main

main()
