# `make demo` and `make test` are all that a fresh machine needs.
.PHONY: demo test setup check

demo: setup
	.venv/bin/python submission_runner.py --workload=imagenet_resnet

test: setup
	.venv/bin/python -m pytest

setup:
	@scripts/setup

check: setup
	scripts/check
