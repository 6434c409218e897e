"""The sections of a report, one file each, see `report.base`. They do not import each other."""
