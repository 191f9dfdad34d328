"""Benches: the papers' tables and the speed tables, each one command."""
