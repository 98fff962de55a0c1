"""Methods: one small file each, and the registry that finds them by name."""
