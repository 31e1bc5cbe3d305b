"""SAM: the second pass, at the ascended weights, leaves the statistics alone."""

import torch
from common import data_selection as data_selection
from common import get_batch_size as get_batch_size

from algorithmic_efficiency import spec

HPARAMS = {"learning_rate": 1e-2, "rho": 0.05}


class SAM(torch.optim.Optimizer):
    """Two steps around a closure that computes the gradient anew."""

    def __init__(self, params, base_optimizer, rho, **kwargs):
        super().__init__(params, {"rho": rho, **kwargs})
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure):
        params = [p for group in self.param_groups for p in group["params"]]
        norm = torch.norm(torch.stack([p.grad.norm(p=2) for p in params]), p=2)
        for p in params:
            self.state[p]["old_p"] = p.data.clone()
            p.add_(p.grad, alpha=float(self.param_groups[0]["rho"] / (norm + 1e-12)))
        self.zero_grad()
        torch.enable_grad()(closure)()
        for p in params:
            p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        self.zero_grad()


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = SAM(
        model_params.parameters(),
        torch.optim.SGD,
        hyperparameters.rho,
        lr=hyperparameters.learning_rate,
        momentum=0.9,
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
    model = current_param_container
    model.train()

    def compute_loss(update_batch_norm=True):
        logits, state = workload.model_fn(
            params=model,
            augmented_and_preprocessed_input_batch=batch,
            model_state=model_state,
            mode=spec.ForwardPassMode.TRAIN,
            rng=rng,
            update_batch_norm=update_batch_norm,
        )
        losses = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return losses["summed"] / losses["n_valid_examples"], state

    def sam_closure():
        loss, _ = compute_loss(update_batch_norm=False)
        loss.backward()

    loss, new_model_state = compute_loss()
    loss.backward()
    before = [b.clone() for b in model.buffers()]
    optimizer_state["optimizer"].step(closure=sam_closure)
    frozen = zip(before, model.buffers(), strict=True)
    assert all(torch.equal(old, new) for old, new in frozen)
    return optimizer_state, current_param_container, new_model_state
