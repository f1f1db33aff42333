"""Whether data can be trusted: survey, anatomy rules, label audit, check, statistics."""
