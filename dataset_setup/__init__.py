"""Commands that prepare data sets: `python -m dataset_setup --help`."""
