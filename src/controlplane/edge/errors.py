"""What can go wrong with the edge, for the operator who starts it."""


class EdgeError(Exception):
    """Envoy cannot be started or reached. The text is one line, fit for a terminal."""
