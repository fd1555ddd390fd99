"""The command line: one file a command's family."""
