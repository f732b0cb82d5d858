"""How fast Gatewright is beside other software on the same processor: `python -m benchmarks.cpu`."""
