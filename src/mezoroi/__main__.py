"""``python -m mezoroi``."""

from mezoroi.cli import main

main()
