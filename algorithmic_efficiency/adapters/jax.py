"""Makes a submission out of any optax transformation.

    from algorithmic_efficiency.adapters.jax import from_optimizer

    get_batch_size, init_optimizer_state, update_params, data_selection = (
        from_optimizer(lambda hyperparameters, steps: optax.lion(3e-4), batch_size=128)
    )

One function is compiled per trial: forward, backward, clipping and update. It reuses
the memory of the parameters, of the model's state and of the optimizer's state.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from algorithmic_efficiency import adapters, jax_sharding_utils, spec


def from_optimizer(
    optimizer: Callable[[spec.Hyperparameters, int], optax.GradientTransformation],
    *,
    batch_size: adapters.BatchSize,
    schedule: adapters.Schedule | None = None,
) -> adapters.Submission:
    """Returns the functions of a submission.

    Args:
      optimizer: `optimizer(hyperparameters, steps)`, where `steps` is the workload's
        step_hint; transformations that ask for value, grad and value_fn get them.
      batch_size: for all workloads, or a function of the workload's name.
      schedule: `schedule(step, steps, hyperparameters)`, a factor on every update.
    """
    return JaxAdapter(optimizer, batch_size, schedule).functions()


class JaxAdapter(adapters.Adapter):
    """Its optimizer state is (state of the transformation, compiled step)."""

    def start(
        self,
        workload: Any,
        params: spec.ParameterContainer,
        hyperparameters: spec.Hyperparameters,
    ) -> spec.OptimizerState:
        """Returns a state that shares no memory with the parameters."""
        transform = optax.with_extra_args_support(
            self.optimizer(hyperparameters, workload.step_hint)
        )
        # Copies, since some states begin with the parameters themselves, and a step may
        # reuse a buffer only once. The dtype makes weak types strong, as a step does.
        state = jax.tree.map(
            lambda x: jax.numpy.array(x, dtype=x.dtype), transform.init(params)
        )
        settings = adapters.Settings.of(hyperparameters)
        return (
            jax_sharding_utils.replicate(state),
            compiled_step(workload, transform, settings),
        )

    def step(
        self,
        step: adapters.Step,
        optimizer_state: spec.OptimizerState,
        params: spec.ParameterContainer,
        model_state: spec.ModelAuxiliaryState,
    ) -> tuple[spec.UpdateReturn, tuple[spec.Tensor, spec.Tensor]]:
        """Uses up the arrays of the three states."""
        state, function = optimizer_state
        carry, scalars = function(
            (params, model_state, state), step.batch, step.rng, step.rate_factor
        )
        params, model_state, state = carry
        return ((state, function), params, model_state), scalars


def compiled_step(
    workload: Any,
    transform: optax.GradientTransformationExtraArgs,
    settings: adapters.Settings,
) -> Callable[..., Any]:
    """Returns the training step under jit.

    It maps (params, model_state, optimizer state), batch, rng and the rate's factor to
    the new triple and (loss, gradient norm). The triple is replicated over the devices
    and donated; the batch stays as it is placed.
    """

    def step(carry: Any, batch: Any, rng: Any, factor: Any) -> Any:
        params, model_state, state = carry

        def loss_fn(params: Any) -> Any:
            losses, new_state = settings.losses(
                workload, params, model_state, batch, rng
            )
            return losses["summed"] / losses["n_valid_examples"], new_state

        (loss, model_state), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        grad_norm = optax.tree.norm(grads)
        if settings.grad_clip is not None:
            # The 1e-6 is that of torch.nn.utils.clip_grad_norm_.
            clip = jax.numpy.minimum(1.0, settings.grad_clip / (grad_norm + 1e-6))
            grads = jax.tree.map(lambda grad: clip * grad, grads)
        updates, state = transform.update(
            grads,
            state,
            params,
            value=loss,
            grad=grads,
            value_fn=lambda params: loss_fn(params)[0],
        )
        updates = jax.tree.map(lambda update: factor * update, updates)
        params = optax.apply_updates(params, updates)
        return (params, model_state, state), (loss, grad_norm)

    everywhere = jax_sharding_utils.get_replicate_sharding()
    return jax.jit(
        step,
        in_shardings=(everywhere, None, everywhere, everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )
