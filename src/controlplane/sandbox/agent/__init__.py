"""The program inside a sandbox. It needs the standard library and asyncssh only: nothing else is visible
there.
"""
