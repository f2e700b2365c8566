"""Words and bytes: text that is not UTF-8, and words that are like an unknown one."""
