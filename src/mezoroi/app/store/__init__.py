"""All SQL of the app: functions that take a session of `Database.read` or `Database.write` first.

A function never commits: the transaction belongs to its caller.

What nearly every page asks stands as a statement of the module, with `bindparam` for what changes:
SQLAlchemy takes longer to put a statement together and to find out that it has met it before than
SQLite takes to answer it.
"""
