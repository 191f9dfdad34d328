"""Practice for newcomers: what to show next, tests, progress, and the evidence that it works."""
