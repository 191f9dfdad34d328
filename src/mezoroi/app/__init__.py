"""The web application at the packing bench: pages, API, database and grading worker.

Nothing here imports torch but `mezoroi.app.worker`, which runs in a process of its own.
"""
