"""A step over two devices or processes is the step over one, padding uneven."""

import os
import subprocess
import sys
from pathlib import Path

import linear_workload as linear
import numpy as np

HP = {
    "learning_rate": 0.05,
    "one_minus_beta1": 0.1,
    "beta2": 0.95,
    "weight_decay": 0.1,
    "warmup_factor": 0.3,
    "grad_clip": 0.5,
}
# gloo's threads now and then abort an ordinary exit, so each process ends itself, once
# the other is through with its collectives too.
PYTORCH = """
import os, pathlib, sys, time
import linear_workload as linear, numpy as np, test_several_devices as test
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2
)
workload = linear.make_workload("pytorch")
initial = workload.init_model_fn
workload.init_model_fn = lambda rng: (DistributedDataParallel(initial(rng)[0]), None)
half = slice(4 * rank, 4 * rank + 4)
batches = [
    {key: value[half] for key, value in batch.items()}
    for batch in linear.make_batches()
]
assert {batch["weights"].sum() for batch in batches} == {(4.0, 2.0)[rank]}
test.train_and_save("pytorch", workload, batches, f"{folder}/{rank}.npz")
while not pathlib.Path(folder, f"{1 - rank}.npz").exists():
    time.sleep(0.01)
os._exit(0)
"""
JAX = """
import sys
import jax, linear_workload as linear, test_several_devices as test
assert jax.local_device_count() == 2
workload = linear.make_workload("jax")
batches = list(linear.make_batches())
assert len(workload.place(batches[0])["inputs"].sharding.device_set) == 2
test.train_and_save("jax", workload, batches, sys.argv[1] + "/0.npz")
"""


def train_and_save(framework, workload, batches, path):
    """What each process does; the logger records the loss of all examples."""
    recorder = linear.Recorder()
    workload.attach_metrics_logger(recorder)
    submission = linear.load("reference_algorithms/nadamw", framework)
    hp = linear.hyperparameters(**HP)
    values = linear.train(submission, workload, framework, hp, batches)
    np.savez(path, **values, loss=recorder.rows[0]["loss"])


def run(code, arguments, **environment):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        cwd=here.parents[1],
    )


def check(framework, folder, ranks):
    workload = linear.make_workload(framework)
    train_and_save(framework, workload, list(linear.make_batches()), folder / "one.npz")
    want = np.load(folder / "one.npz")
    for rank in range(ranks):
        got = np.load(folder / f"{rank}.npz")
        assert set(got) == set(want)
        for name in want:
            np.testing.assert_allclose(got[name], want[name], rtol=1e-5, atol=1e-7)


def test_two_processes_with_distributed_data_parallel(tmp_path):
    processes = [run(PYTORCH, [str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    check("pytorch", tmp_path, ranks=2)


def test_two_jax_devices(tmp_path):
    flags = "--xla_force_host_platform_device_count=2"
    process = run(JAX, [str(tmp_path)], XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    assert process.wait(timeout=300) == 0
    check("jax", tmp_path, ranks=1)
