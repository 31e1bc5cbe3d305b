"""No run is made faster by what an earlier one has compiled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.backends import base, compilation_caches

# Compiles under a cache that the environment asked for, then under one that
# `jax.config` asks for in three ways.
JAX = """
import json, sys
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
from jax.experimental.compilation_cache import compilation_cache
from algorithmic_efficiency.backends import base, compilation_caches
def compile(number):
    jax.jit(lambda x: x * number + jax.numpy.sin(x))(3.0).block_until_ready()
base.make("jax")
seen = [dict(compilation_caches.IGNORED)]
compile(2)
folder = sys.argv[1]
jax.config.update("jax_compilation_cache_dir", folder + "/by_config")
jax.config.update("jax_enable_compilation_cache", True)
compile(3)
compilation_cache.reset_cache()
compile(4)
seen.append(dict(compilation_caches.IGNORED))
compilation_cache.set_cache_dir(folder + "/by_function")
compilation_cache.reset_cache()
compile(5)
base.make("jax")
compile(6)
seen.append(dict(compilation_caches.IGNORED))
jax.config.update("jax_enable_x64", True)  # other settings are set as ever
assert jax.config.jax_enable_x64
print(json.dumps(seen))
"""


def test_jax_has_no_cache_on_disk_whoever_sets_it_up(tmp_path: Path) -> None:
    flags = f"--xla_gpu_kernel_cache_file={tmp_path}/k --xla_cpu_enable_fast_math=false"
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": f"{tmp_path}/by_environment",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "XLA_FLAGS": flags,
        "PYTHONPATH": str(registry.ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", JAX, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, third = json.loads(done.stdout)
    kernels = {"xla_gpu_kernel_cache_file": f"{tmp_path}/k"}
    name = "jax_compilation_cache_dir"
    assert first == {name: f"{tmp_path}/by_environment", **kernels}
    switch = {"jax_enable_compilation_cache": "True"}
    assert second == {name: f"{tmp_path}/by_config", **switch, **kernels}
    assert third == {**second, name: f"{tmp_path}/by_function"}
    assert list(tmp_path.rglob("*")) == []


def test_torch_compiles_into_a_new_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir, triton_cache_dir

    monkeypatch.setattr(compilation_caches, "IGNORED", {})
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setenv("TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE", "1")
    backend = base.make("pytorch")
    own = Path(cache_dir())
    assert not own.is_relative_to(tmp_path)
    assert Path(triton_cache_dir(0)).is_relative_to(own)
    assert "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE" not in os.environ
    ignored = dict(compilation_caches.IGNORED)
    assert ignored == {
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "TRITON_CACHE_DIR": str(tmp_path / "triton"),
        "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": "1",
    }
    # A submission may set it at any time.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    backend.keep_settings()
    assert Path(cache_dir()) == own
    ignored = compilation_caches.IGNORED["TORCHINDUCTOR_CACHE_DIR"]
    assert ignored == str(tmp_path / "mine")
    assert Path(base.make("pytorch")._caches._folder) != own
