"""Sources of health records: a folder each, all read into the tables of `records.common.tables`."""
