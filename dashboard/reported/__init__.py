"""A report as one file: the same blocks that the pages are made of, without scripts and without addresses."""
