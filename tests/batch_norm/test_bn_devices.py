"""Cases 20 and 45: several devices compute the statistics of the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import bn_layers
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from algorithmic_efficiency.nn.batch_norm.moments import (
    accumulate,
    average_statistics,
    recalibrate,
)
from algorithmic_efficiency.nn.batch_norm.pytorch import BatchNorm, batch_norm_mode

HERE = Path(__file__).parent


def sync_data():
    arrays, _ = bn_layers.golden("sync/data")
    mask = 1 - arrays["pad"]
    mask[3] = 0  # a row of padding, so that the two ranks hold unequal counts
    return {**arrays, "mask": mask, "nothing": np.zeros_like(mask)}


def layer(**settings):
    arrays = sync_data()
    made = BatchNorm(3, channel_axis=-1, **settings)
    made.weight.data, made.bias.data = (torch.tensor(arrays[k]) for k in ("w", "b"))
    return made


def step(module, x, dy, mask, *, update=True):
    """Returns y and dx of one forward and backward."""
    x = torch.tensor(x, requires_grad=True)
    with batch_norm_mode(module, update=update):
        y = module(x, None if mask is None else torch.tensor(mask))
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), x.grad.numpy()


MASKS = {"none": None, "mask": "mask", "nothing": "nothing"}


def rank_main(rank, folder):
    """One of two processes; writes what it computed."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    arrays = sync_data()
    mine = slice(2 * rank, 2 * rank + 2)
    x, dy = arrays["x"][mine], arrays["dy"][mine]
    out = {}
    for name, key in MASKS.items():
        module = layer()
        ddp = DistributedDataParallel(module)
        mask = None if key is None else arrays[key][mine]
        step(ddp, x, dy, mask, update=False)  # frozen through the wrapper
        out[f"{name}/count0"] = module.num_batches_tracked.numpy().copy()
        ddp.zero_grad()
        out[f"{name}/y"], out[f"{name}/dx"] = step(ddp, x, dy, mask)
        out[f"{name}/dw"] = module.weight.grad.numpy()
        out |= {f"{name}/{k}": v.numpy().copy() for k, v in module.named_buffers()}
    for each in (ddp, module):  # two forwards and one backward
        first, second = (each(torch.tensor(x), torch.tensor(mask)) for _ in range(2))
        (first + second).sum().backward()
    own = layer(sync=False, momentum=1.0)
    step(own, x, dy, None)
    out["own/local"] = own.running_var.numpy().copy()
    average_statistics(own)
    out["own/averaged"] = own.running_var.numpy().copy()
    gathered = layer(momentum=1.0)
    with accumulate(gathered):
        for i in range(2):
            gathered(torch.tensor(x[i : i + 1]))
    out["accumulated"] = gathered.running_var.numpy().copy()
    recalibrate(gathered, [torch.tensor(x[1:])])
    out["recalibrated"] = gathered.running_var.numpy().copy()
    np.savez(Path(folder) / f"{rank}.npz", **out)
    del ddp, each  # their destructors need the process group
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(rank_main, (str(folder),), nprocs=2)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in (0, 1)]


@pytest.mark.parametrize("name", MASKS)
def test_case_45_two_processes_are_one(ranks, name):
    arrays, module = sync_data(), layer()
    mask = None if MASKS[name] is None else arrays[MASKS[name]]
    y, dx = step(module, arrays["x"], arrays["dy"], mask)
    for found, expected in (("y", y), ("dx", dx)):
        both = np.concatenate([rank[f"{name}/{found}"] for rank in ranks])
        np.testing.assert_allclose(both, expected, atol=1e-6, rtol=1e-5)
    weight = module.weight.grad.numpy() / 2  # DDP averages
    for rank in ranks:
        np.testing.assert_allclose(rank[f"{name}/dw"], weight, atol=1e-6, rtol=1e-5)
        for key, buffer in module.named_buffers():
            np.testing.assert_allclose(rank[f"{name}/{key}"], buffer, atol=1e-6)


@pytest.mark.parametrize("name", MASKS)
def test_case_20_ddp_freezes_and_counts_once(ranks, name):
    for rank in ranks:
        assert rank[f"{name}/count0"] == 0
        assert rank[f"{name}/num_batches_tracked"] == (name != "nothing")


def test_statistics_per_process_are_averaged_on_request(ranks):
    local = [rank["own/local"] for rank in ranks]
    x = sync_data()["x"].reshape(2, -1, 3)
    np.testing.assert_allclose(local, x.var(1, ddof=1), rtol=1e-5)
    for rank in ranks:
        np.testing.assert_allclose(rank["own/averaged"], sum(local) / 2, rtol=1e-6)


def test_accumulation_and_recalibration_count_all_processes(ranks):
    x = sync_data()["x"]
    for rank in ranks:
        expected = x.reshape(-1, 3).var(0, ddof=1)
        np.testing.assert_allclose(rank["accumulated"], expected, rtol=1e-6)
        expected = x[1::2].reshape(-1, 3).var(0, ddof=1)
        np.testing.assert_allclose(rank["recalibrated"], expected, rtol=1e-6)


JAX_MAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import test_bn_devices
test_bn_devices.jax_main()
"""


def test_case_45_two_jax_devices_are_one():
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", JAX_MAIN, str(HERE)],
        env=environment,
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["mask", "none", "nothing"]


def jax_main():
    """Compares jit over a sharded batch, shard_map and one device."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    from algorithmic_efficiency.nn.batch_norm.jax import BatchNorm as JaxBatchNorm

    arrays = sync_data()
    params = {"scale": arrays["w"], "bias": arrays["b"]}
    start = bn_layers.JaxLayer(arrays["w"], arrays["b"]).stats
    mesh = jax.make_mesh((2,), ("batch",))
    whole, split = PartitionSpec(), PartitionSpec("batch")

    def forward(params, x, mask, axis_name=None):
        return JaxBatchNorm(axis_name=axis_name).apply(
            {"params": params, "batch_stats": start},
            x,
            mask,
            use_running_average=False,
            mutable=["batch_stats"],
        )

    def gradients(forward):
        def run(params, x, dy, mask):
            y, back, new = jax.vjp(
                lambda p, x: forward(p, x, mask), params, x, has_aux=True
            )
            return y, new, *back(dy)

        return jax.jit(run)

    for name in sorted(MASKS):
        mask = None if MASKS[name] is None else arrays[MASKS[name]]
        data = arrays["x"], arrays["dy"], mask
        placed = jax.device_put(data, NamedSharding(mesh, split))
        mapped = jax.shard_map(
            lambda p, x, m: forward(p, x, m, "batch"),
            mesh=mesh,
            in_specs=(whole, split, split),
            out_specs=(split, whole),
        )
        expected = gradients(forward)(params, *data)
        for found in (
            gradients(forward)(params, *placed),
            gradients(mapped)(params, *placed),
        ):
            jax.tree.map(
                lambda one, other: np.testing.assert_allclose(
                    one, other, atol=1e-6, rtol=1e-5
                ),
                found,
                expected,
            )
        print(name)
