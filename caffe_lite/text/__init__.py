"""Words and bytes: text that is not UTF-8, and the known words nearest to an unknown one."""
