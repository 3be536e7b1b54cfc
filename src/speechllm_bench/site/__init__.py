"""The results as a folder of pages that opens from disk: no server, no request to elsewhere, no torch."""
