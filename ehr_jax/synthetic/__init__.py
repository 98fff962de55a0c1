"""The generated hospital: records made from numbers, and written as files of MIMIC-III."""
