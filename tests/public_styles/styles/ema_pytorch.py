"""An exponential average of the weights that is swapped in for the evaluation."""

import torch
from algoperf import spec
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 1e-3, "ema": 0.5}


class EMA:
    """Holds the average, or while that is in the model, the trained weights."""

    def __init__(self, params, decay):
        self.params = list(params)
        self.decay = decay
        self.other = [p.detach().clone() for p in self.params]
        self.swapped = False

    @torch.no_grad()
    def update(self):
        torch._foreach_lerp_(self.other, self.params, 1 - self.decay)

    @torch.no_grad()
    def swap(self, evaluate):
        if self.swapped != evaluate:
            for p, other in zip(self.params, self.other, strict=True):
                kept = p.clone()
                p.copy_(other)
                other.copy_(kept)
            self.swapped = evaluate

    def state_dict(self):
        return {"other": self.other, "swapped": self.swapped}

    def load_state_dict(self, state):
        self.other, self.swapped = state["other"], state["swapped"]


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    parameters = model_params.parameters
    return {
        "optimizer": torch.optim.AdamW(parameters(), lr=hyperparameters.learning_rate),
        "ema": EMA(parameters(), hyperparameters.ema),
    }


def update_params(
    workload,
    current_param_container,
    model_state,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    optimizer, ema = optimizer_state["optimizer"], optimizer_state["ema"]
    ema.swap(evaluate=False)
    optimizer.zero_grad()
    logits, model_state = workload.model_fn(
        current_param_container,
        batch,
        model_state,
        spec.ForwardPassMode.TRAIN,
        rng,
        True,
    )
    losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer.step()
    ema.update()
    return optimizer_state, current_param_container, model_state


def prepare_for_eval(
    workload, current_param_container, model_state, optimizer_state, **kwargs
):
    optimizer_state["ema"].swap(evaluate=True)
    return optimizer_state, current_param_container, model_state
