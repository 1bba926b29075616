"""Text: masking of keys, redaction, truncation, Markdown, and text that strangers wrote."""
