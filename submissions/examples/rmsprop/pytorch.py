"""RMSprop (Tieleman and Hinton, 2012): any torch.optim class is a submission."""

import torch

from algorithmic_efficiency.adapters.pytorch import from_optimizer

get_batch_size, init_optimizer_state, update_params, data_selection = from_optimizer(
    lambda model, *_: torch.optim.RMSprop(model.parameters(), lr=1e-3), batch_size=128
)
