"""Sandboxed machines on this host: built, found again, bounded and ended. Knows nothing of offers or
providers.
"""
