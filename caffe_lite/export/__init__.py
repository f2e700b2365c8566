"""Nets in other forms: folded, for engines that run them faster."""
