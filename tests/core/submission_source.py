"""A minimal submission as source, for tests that break it."""

GOOD = """
def get_batch_size(workload_name):
    return 8

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}

def data_selection(workload, input_queue, optimizer_state, current_param_container,
                   model_state, hyperparameters, global_step, rng):
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results,
                  global_step, rng):
    return optimizer_state, current_param_container, model_state
"""
PREPARE = """
def prepare_for_eval(workload, current_param_container, current_params_types,
                     model_state, hyperparameters, loss_type, optimizer_state,
                     eval_results, global_step, rng):
    return optimizer_state, current_param_container, model_state
"""
