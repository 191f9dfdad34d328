"""Write the migration for what changed in the tables: ``python tools/migration.py "Practice"``.

Read what it wrote: a rename looks like a column dropped and another added.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import alembic.command
from alembic.config import Config
from alembic.script import ScriptDirectory

from mezoroi.app import database

MIGRATIONS = Path(database.__file__).with_name("migrations")


def main(arguments: list[str]) -> int:
    """Compare the tables with a database that has all migrations so far."""
    if len(arguments) != 1:
        print('error: say what changed: python tools/migration.py "Practice"', file=sys.stderr)
        return 2
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
    with tempfile.TemporaryDirectory() as folder:
        opened = database.Database(f"sqlite:///{folder}/empty.sqlite")
        if number > 1:
            database.migrate(opened)
        with opened.engine.begin() as connection:
            config.attributes["connection"] = connection
            alembic.command.revision(
                config, arguments[0], autogenerate=True, rev_id=f"{number:04d}"
            )
        opened.close()
    path = next(MIGRATIONS.glob(f"versions/{number:04d}_*.py"))
    lines = [line for line in path.read_text().splitlines() if "# ###" not in line]
    path.write_text("\n".join(lines) + "\n")
    for action in (["format", "--quiet"], ["check", "--fix", "--quiet"]):
        subprocess.run(["ruff", *action, str(path)], check=True)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
