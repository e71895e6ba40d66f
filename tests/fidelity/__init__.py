"""The vendors' own clients driven against our simulators; the clients live in a venv of their own (.fidelity/venv)."""
