"""The batch sizes of the reference algorithms, those of the published baselines."""

from algorithmic_efficiency import registry


def get_batch_size(workload_name: str) -> int:
    """Returns the number of examples of a step, over all devices.

    Raises:
      ValueError: there is no such workload.
    """
    definition = registry.definitions().get(workload_name)
    if definition is None:
        raise ValueError(f"There is no workload {workload_name!r}.")
    return definition.reference_batch_size
