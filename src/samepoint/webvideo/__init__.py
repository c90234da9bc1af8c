"""Web videos into correspondence labels: search, download, shots, labels, and the engine that runs them."""
