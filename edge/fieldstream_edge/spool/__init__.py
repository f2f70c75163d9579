"""The durable spool between PUBACK and delivery report. Start with SPOOL.md, then ledger.py."""
