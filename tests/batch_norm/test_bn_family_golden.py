"""Ghost, moving-average and accumulated batch norm against the original layers."""

import bn_family
import bn_layers
import numpy as np
import pytest

FRAMEWORKS = ("pytorch", "jax")
GHOST = ("bn2d_B10_g4", "bn2d_B7_g3_tail1", "bn1d_B8_g4")
EQUINOX = ("batch_m09_nchw", "batch_m09_nc", "ema_m09_nchw", "ema_m09_nc")


def check(layer, at, *, update, evaluate):
    x, dy = bn_family.last(at["x"]), bn_family.last(at["dy"])
    y, *grads = layer(x, dy, update=update, use_running_average=evaluate)
    theirs = bn_family.last(at["y"]), bn_family.last(at["dx"]), at["dw"], at["db"]
    for ours, value in zip((y, *grads), theirs, strict=True):
        np.testing.assert_allclose(ours, value, rtol=1e-5, atol=1e-5)
    mean, var, count = layer.state
    np.testing.assert_allclose(mean, at["rm"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, at["rv"], rtol=1e-6, atol=1e-6)
    return count


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", GHOST)
def test_ten_steps_of_composer(framework, case):
    arrays, config = bn_layers.golden(f"ghost/{case}")
    layer = bn_family.LAYERS[framework](
        "ghost",
        arrays["w"],
        arrays["b"],
        ghost_batch_size=config["ghost_batch_size"],
        momentum=config["momentum"],
    )
    for at, evaluate, update in bn_family.steps(f"ghost/{case}"):
        count = check(layer, at, update=update, evaluate=evaluate)
        assert count == at["nbt"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", EQUINOX)
def test_ten_steps_of_the_released_equinox_layer_defect_included(framework, case):
    arrays, config = bn_layers.golden(f"equinox/{case}")
    layer = bn_family.LAYERS[framework](
        "ema",
        arrays["w"],
        arrays["b"],
        momentum=1 - config["momentum"],
        normalise_with=config["mode_kw"],
        compatibility="equinox",
    )
    for number, (at, evaluate, update) in enumerate(bn_family.steps(f"equinox/{case}")):
        check(layer, at, update=update, evaluate=evaluate)
        assert number or layer.state[2] == 1


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("kind", ["batch", "ema"])
def test_an_untrained_equinox_layer(framework, kind):
    arrays, _ = bn_layers.golden(f"equinox/untrained_{kind}")
    layer = bn_family.LAYERS[framework](
        "ema", np.ones(3), np.zeros(3), normalise_with=kind, compatibility="equinox"
    )
    x = arrays["x"]
    y, *_ = layer(x, x, update=False, use_running_average=True)
    np.testing.assert_allclose(y, arrays["y"], rtol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", ["accum/bn2d", "accum/bn2d_offset1e4"])
def test_accumulated_steps_are_those_of_the_whole_batch(framework, case):
    arrays, config = bn_layers.golden(case)
    layer = bn_family.LAYERS[framework](
        "accumulated", arrays["w"], arrays["b"], momentum=config["momentum"]
    )
    for step, group in enumerate(config["groups"]):
        layer.set_parameters(arrays["w"] + step, arrays["b"])  # an optimizer's step
        for i in range(len(group)):
            x = bn_family.last(arrays[f"step{step:02}/x{i}"])
            layer(x, x, update=True, use_running_average=False)
        mean, var, count = layer.state
        at = f"step{step:02}/exact_"
        np.testing.assert_allclose(mean, arrays[f"{at}rm"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(var, arrays[f"{at}rv_unbiased"], rtol=1e-5)
        assert count == step + 1
