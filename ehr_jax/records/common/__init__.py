"""What every source of records shares: the tables, reading files, codes, times and deaths."""
