"""Shampoo over views of the parameters as matrices, made once at the beginning."""

import torch
from algoperf import spec
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 1e-3, "beta": 0.9, "epsilon": 1e-4}
MAX_SIDE = 128


def root(matrix, epsilon):
    """Returns (matrix + epsilon)^(-1/4) of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix.double())  # float32 may not converge
    scaled = vectors * (values.clamp(min=0) + epsilon) ** -0.25
    return (scaled @ vectors.T).to(matrix.dtype)


class Shampoo(torch.optim.Optimizer):
    """Preconditions both sides of small matrices, and others by their norm."""

    def __init__(self, params, lr, beta, epsilon):
        super().__init__(params, {"lr": lr, "beta": beta, "epsilon": epsilon})
        for p in self.param_groups[0]["params"]:
            rows = p.shape[0] if p.dim() > 1 else 1
            # Views of the parameter itself: what is written here is written there.
            self.state[p]["matrix"] = matrix = p.detach().view(rows, -1)
            if max(matrix.shape) <= MAX_SIDE:
                for side, size in enumerate(matrix.shape):
                    self.state[p][f"gram{side}"] = torch.zeros(size, size)

    @torch.no_grad()
    def step(self):
        (group,) = self.param_groups
        for p in group["params"]:
            state = self.state[p]
            matrix = state["matrix"]
            grad = p.grad.view(matrix.shape)
            if "gram0" in state:
                for side, product in enumerate((grad @ grad.T, grad.T @ grad)):
                    state[f"gram{side}"].lerp_(product, 1 - group["beta"])
                left = root(state["gram0"], group["epsilon"])
                update = left @ grad @ root(state["gram1"], group["epsilon"])
            else:
                update = grad / (grad.norm() + group["epsilon"])
            matrix.sub_(update, alpha=group["lr"])


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    params = [p for p in model_params.parameters() if p.requires_grad]
    assert all(p.is_contiguous() for p in params)
    optimizer = Shampoo(
        params,
        hyperparameters.learning_rate,
        hyperparameters.beta,
        hyperparameters.epsilon,
    )
    return {"optimizer": optimizer}


def update_params(
    workload,
    current_param_container,
    model_state,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(
        current_param_container,
        batch,
        model_state,
        spec.ForwardPassMode.TRAIN,
        rng,
        update_batch_norm=True,
    )
    losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer_state["optimizer"].step()
    return optimizer_state, current_param_container, model_state
