"""The commands that look at directories, and how the command line is parsed."""
