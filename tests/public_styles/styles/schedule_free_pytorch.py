"""Schedule-free SGD, whose average is put into the model to evaluate, recalibrated."""

import torch
from algoperf import spec
from common import data_selection as _data_selection
from common import get_batch_size as get_batch_size

HPARAMS = {"learning_rate": 0.5, "beta": 0.9, "label_smoothing": 0.1}


class ScheduleFreeSGD(torch.optim.Optimizer):
    """The parameters are y while it trains and x, the average, while it evaluates."""

    def __init__(self, params, lr, beta):
        super().__init__(params, {"lr": lr, "beta": beta, "k": 0, "training": True})

    def _move(self, training):
        for group in self.param_groups:
            if group["training"] == training:
                continue
            weight = 1 - group["beta"] if training else 1 - 1 / group["beta"]
            for p in group["params"]:
                if "z" in self.state[p]:
                    p.data.lerp_(end=self.state[p]["z"], weight=weight)
            group["training"] = training

    def train(self):
        self._move(training=True)

    def eval(self):
        self._move(training=False)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            share = 1 / (group["k"] + 1)
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.detach().clone())
                p.lerp_(end=z, weight=share)
                p.add_(p.grad, alpha=group["lr"] * (group["beta"] * (1 - share) - 1))
                z.sub_(p.grad, alpha=group["lr"])
            group["k"] += 1


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del workload, model_state, rng
    optimizer = ScheduleFreeSGD(
        model_params.parameters(), hyperparameters.learning_rate, hyperparameters.beta
    )
    return {"optimizer": optimizer, "recent": []}


def data_selection(workload, input_queue, optimizer_state, *args):
    batch = _data_selection(workload, input_queue, optimizer_state, *args)
    optimizer_state["recent"] = [*optimizer_state["recent"], batch][-2:]
    return batch


def update_params(
    workload,
    current_param_container,
    model_state,
    hyperparameters,
    batch,
    optimizer_state,
    rng,
    **kwargs,
):
    optimizer = optimizer_state["optimizer"]
    optimizer.train()
    optimizer.zero_grad(set_to_none=True)
    logits, model_state = workload.model_fn(
        current_param_container,
        batch,
        model_state,
        spec.ForwardPassMode.TRAIN,
        rng,
        update_batch_norm=True,
    )
    losses = workload.loss_fn(
        batch["targets"], logits, batch.get("weights"), hyperparameters.label_smoothing
    )
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer.step()
    return optimizer_state, current_param_container, model_state


def prepare_for_eval(
    workload, current_param_container, model_state, optimizer_state, **kwargs
):
    optimizer_state["optimizer"].eval()
    recent = optimizer_state["recent"]
    model_state = workload.recalibrate(current_param_container, model_state, recent)
    return optimizer_state, current_param_container, model_state
