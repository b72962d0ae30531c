"""What a label is: spaces, containers, checks, conversions; tables and foreign formats in and out; the ledger."""
