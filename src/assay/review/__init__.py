"""The web page where a person decides, over the ledger."""
