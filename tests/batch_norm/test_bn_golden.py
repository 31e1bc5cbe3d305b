"""Our layers against values that the original libraries computed."""

import bn_layers
import numpy as np
import pytest

# case, settings of ours, and the keys that this library computes as we do. Where a
# project's momentum is the weight of the old value, ours is one minus it.
CASES = {
    "torch/bn1d_nc": {},
    "torch/bn2d": {},
    "torch/bn2d_mNone": {"momentum": None},
    "torch/bn2d_m0": {"momentum": 0.0},
    "torch/bn2d_m1": {"momentum": 1.0},
    "torch/bn2d_channels_last": {},
    "torch/bn2d_n1": {},
    "flax/linen_m09": {"momentum": 0.1, "variance": "population"},
    "flax/linen_m09_slowvar": {"momentum": 0.1, "variance": "population"},
    "flax/linen_m1_frozen": {"momentum": 0.0, "variance": "population"},
    "flax/linen_m0": {"momentum": 1.0, "variance": "population"},
    "flax/nnx_mask": {"momentum": 0.1, "variance": "population"},
    "upstream/conformer_pt_ragged_m09": {"momentum": 0.1},
    "upstream/deepspeech_jax_ragged_m0999": {"momentum": 0.001},
    "upstream/conformer_jax_none_m09": {"momentum": 0.1},
}
SPEECH = {"epsilon": 1e-3, "variance": "population", "zero_centered_scale": True}


@pytest.mark.parametrize("framework", bn_layers.FRAMEWORKS)
@pytest.mark.parametrize("case", CASES)
def test_ten_steps_of_the_original_library(framework, case):
    arrays, _ = bn_layers.golden(case)
    settings = CASES[case] | (SPEECH if case.startswith("upstream") else {})
    layer = bn_layers.LAYERS[framework](arrays["w"], arrays["b"], **settings)
    for step, (mode, update) in enumerate(
        zip(arrays["mode"], arrays["update"], strict=True)
    ):
        prefix = f"t{step:02}/"
        at = {k[4:]: v for k, v in arrays.items() if k.startswith(prefix)}
        axis = 1 if case.startswith("torch") else -1
        check_step(layer, at, axis, update=bool(update), evaluate=mode == "EVAL")


def check_step(layer, at, channel_axis, *, update, evaluate):
    def swap(value):
        return np.ascontiguousarray(np.moveaxis(value, channel_axis, -1))

    mask = at.get("mask", 1 - at["pad"] if "pad" in at else None)
    if "mask" in at:
        mask = mask[:, 0, 0, 0]
    y, dx, dw, db = layer(
        swap(at["x"]),
        swap(at["dy"]),
        mask,
        update=update and not evaluate,
        use_running_average=evaluate,
    )
    mean, var, count = layer.state
    np.testing.assert_allclose(mean, at["rm"].reshape(-1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var, at["rv"].reshape(-1), rtol=1e-5, atol=1e-6)
    if "nbt" in at:
        assert count == at["nbt"]
    if "mask" in at:  # nnx normalises masked rows as well; ours are 0
        np.testing.assert_allclose(y[mask], at["y"][mask], rtol=1e-4, atol=1e-5)
        return
    for ours, theirs in ((y, swap(at["y"])), (dx, swap(at["dx"]))):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
    for ours, theirs in ((dw, at["dw"]), (db, at["db"])):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=5e-5)
