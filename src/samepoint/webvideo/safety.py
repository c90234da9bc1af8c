"""What comes from the web is not trusted: names of files and addresses."""

from __future__ import annotations
