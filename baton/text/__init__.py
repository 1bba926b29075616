"""Text of others made safe to show: Markdown, redaction, truncation."""
