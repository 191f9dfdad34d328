"""All SQL of the app: functions that take a session of `Database.read` or `Database.write` first.

A function never commits: the transaction belongs to its caller.
"""
