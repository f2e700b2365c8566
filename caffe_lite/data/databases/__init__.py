"""Databases of Datum records: LMDB and LevelDB, read and written."""
