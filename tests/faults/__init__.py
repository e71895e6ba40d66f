"""The fault campaign: the whole plane and its real marketplace adapters against marketplaces that behave as badly as
the real ones do, killed at random. `python -m tests.faults --help`; a short form is tests/faults/test_faults.py."""
