"""The command ``samepoint``: parsing, progress and exit statuses; the work is done by the library."""
