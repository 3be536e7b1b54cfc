"""The results as a folder of pages that open from disk, without a server, network requests or torch."""
