"""Fetching the open data sets from their publishers, checked and placed whole."""
