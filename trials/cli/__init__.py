"""The command line: `autonat`."""
