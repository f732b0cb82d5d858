"""Cell configs: the choices by which recurrent layers of frameworks differ, and how a Trace is recognised as one."""
