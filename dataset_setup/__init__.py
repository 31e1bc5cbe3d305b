"""Commands that prepare data sets: `python -m dataset_setup --help`."""

from algorithmic_efficiency import environment

environment.check()
