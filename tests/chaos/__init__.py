"""The kill campaign: a real plane, a real database and a marketplace without idempotency, killed and frozen at random
under load. `python -m tests.chaos --help`; a short form is tests/e2e/test_chaos.py."""
