"""Data sets that Gatewright knows by name: where their files are published, and where they lie on this machine."""
