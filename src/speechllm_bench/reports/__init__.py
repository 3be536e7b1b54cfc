"""From stored records to tables, figures and verdicts; no torch."""
