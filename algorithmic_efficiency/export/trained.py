"""Reads a trained model from a checkpoint; the submission is not needed for it."""

import dataclasses
from pathlib import Path
from typing import Any

from algorithmic_efficiency import registry
from algorithmic_efficiency import state as states
from algorithmic_efficiency.backends import base
from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.runner import checkpoint, records
from algorithmic_efficiency.state import file

_PARTS = ("params", "model_state")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model as its training has left it.

    Attributes:
      path: of the checkpoint.
      step: how many steps it was trained.
      definition: of its workload.
      backend: of its framework.
      model: what the backend has built.
      params, model_state: as the backend takes them.
    """

    path: Path
    step: int
    definition: Any
    backend: base.Backend
    model: Any
    params: Any
    model_state: Any

    def canonical(self) -> dict[str, Any]:
        """Returns parameters and running statistics as canonical NumPy arrays."""
        return self.backend.canonical(self.params, self.model_state)


def find(path: Path) -> Path:
    """Returns the file of a checkpoint, the newest one of a trial's folder.

    Raises:
      UsageError: there is none.
    """
    if path.is_dir():
        found = checkpoint.existing(path)
        if not found:
            raise UsageError(
                f"--checkpoint={path} is a folder without checkpoints. Give the folder "
                "of a trial, such as EXPERIMENT/study_0/trial_1, or a file "
                "checkpoint_<step>."
            )
        return found[-1]
    if not path.is_file():
        raise UsageError(f"--checkpoint={path} does not exist. Give a trial's folder.")
    return path


def load(path: Path, workload: str = "", framework: str = "") -> Trained:
    """Returns the model in a file of a checkpoint.

    Args:
      path: of the file.
      workload: its name; '' for what run.json beside the file says.
      framework: likewise.

    Raises:
      UsageError: nobody says the workload or the framework, or there is none of it.
      StorageError: the file is damaged or of another workload.
    """
    run = records.read_json(path.parent / "run.json")
    name = _told("workload", workload, run, path)
    framework = _told("framework", framework, run, path)
    definition = registry.get(name)
    try:
        content, blocks = file.read(path)
    except (file.Damaged, file.OtherVersion, OSError) as error:
        raise StorageError(
            f"{path} is no whole checkpoint of this version ({error or 'its format'}). "
            "Give another one."
        ) from error
    nodes = {part: content["state"][part] for part in _PARTS}
    options: dict[str, Any] = {}
    if framework == "pytorch":
        compiled = _is_compiled(nodes["params"])
        options["compile_models"] = compiled
    backend = base.make(framework, **options)
    model = backend.build(definition)
    fresh = dict(zip(_PARTS, backend.init(model, definition, (0, 0)), strict=True))
    lost = [what for what in content["lost"] if what.startswith(_PARTS)]
    try:
        origin = states.Origin(backend.kinds, fresh)
        state = states.decode(
            {**content, "state": nodes, "lost": lost}, blocks, fresh, origin
        )
    except (states.Lost, states.Misfit) as error:
        raise StorageError(
            f"{path} holds no plain model of {name} in {framework}: {error}. Give "
            "--workload and --framework as the run had them."
        ) from error
    step = int(content["meta"]["progress"]["step"])
    return Trained(path, step, definition, backend, model, *state.values())


def _told(what: str, given: str, run: dict[str, Any], path: Path) -> str:
    told = given or run.get(what)
    if not isinstance(told, str):
        raise UsageError(
            f"There is no run.json beside {path} that says the {what}; give --{what}."
        )
    return told


def _is_compiled(node: Any) -> bool:
    """Says whether the module of a PyTorch checkpoint was under torch.compile."""
    return isinstance(node, dict) and node.get("kind") == "compiled module"
