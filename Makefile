# `make demo` and `make test` are all that a fresh machine needs.
.PHONY: demo test setup check

demo: setup
	.venv/bin/python submission_runner.py --workload=imagenet_resnet

test: setup
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist=worksteal

setup:
	@scripts/setup

check: setup
	scripts/check
