"""Commands that prepare data sets: `python -m datasets.setup --help`."""
