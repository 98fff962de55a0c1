"""Sources of health records: one file each, all read into the tables of `records.tables`."""
