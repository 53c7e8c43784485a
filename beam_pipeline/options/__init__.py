"""Every option once: dataclasses whose fields carry the help, light enough for --help."""
