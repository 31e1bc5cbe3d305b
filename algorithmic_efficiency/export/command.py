"""Export a trained model as an ONNX file, and check the file.

    algoperf export --checkpoint=TRIAL_FOLDER --output=model.onnx [--training]

The file is run by ONNX Runtime on the CPU beside our own forward pass, and kept only if
they agree.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algorithmic_efficiency import files
from algorithmic_efficiency import params as parameters
from algorithmic_efficiency.backends.base import EVALUATION, Pass
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import StorageError, UsageError
from algorithmic_efficiency.export import check, trained
from algorithmic_efficiency.export.example import example_batch
from algorithmic_efficiency.paths import folder_of, path_of
from algorithmic_efficiency.text import show
from scoring import flags
from scoring.flags import Flag

FLAGS = (
    Flag("checkpoint", "", "folder of a trial, for its newest checkpoint, or a file of "
         "one"),
    Flag("output", "", "the file to write, such as model.onnx"),
    Flag("training", False, "batch norm with the statistics of the batch, and its new "
         "running statistics as outputs; dropout is off either way"),
    Flag("workload", "", "by default what run.json beside the checkpoint says"),
    Flag("framework", "", "likewise", ("pytorch", "jax")),
    Flag("data_dir", "~/data", "folder of the data sets, for the batch of the check"),
)  # fmt: skip
NEEDED = ("torch", "onnx", "onnxruntime", "onnxscript")
SIZE = 4  # examples in the batch that is traced and checked
# Batch norm as in training, everything else as in an evaluation.
TRAINING = Pass(train=False, use_running_average=False, update=True)


def main(argv: Sequence[str]) -> int:
    """Writes the file and says how well it agrees; returns the exit code 0.

    Raises:
      UserError: something is missing or does not fit, or the two disagree.
    """
    values = flags.parse(FLAGS, argv, "Export a trained model as an ONNX file.")
    for name in ("checkpoint", "output"):
        if not getattr(values, name):
            raise UsageError(f"--{name} is missing; --help lists the flags.")
    output = path_of("output", values.output)
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(f"--output={output} is no file in a folder that exists.")
    _check_packages()
    path = trained.find(path_of("checkpoint", values.checkpoint))
    model = trained.load(path, values.workload, values.framework)
    folders = Folders(folder_of("data_dir", values.data_dir))
    batch, source = example_batch(model.definition, folders, SIZE)
    difference = write(model, batch, output, training=values.training)
    mode = "training" if values.training else "evaluation"
    show(
        f"{output}: {model.definition.name} of {path}, {mode} mode. ONNX Runtime and "
        f"our {model.backend.name} differ by {difference:.1e} of the largest value at "
        f"most, on {SIZE} {source}."
    )
    return 0


def write(
    model: trained.Trained, batch: Mapping[str, Any], output: Path, *, training: bool
) -> float:
    """Writes an ONNX file and returns by how much it differs from our forward pass.

    Args:
      model: of either framework.
      batch: NumPy, as a reader makes it.
      output: the file; what was there stays unless the new one is right.
      training: see `pytorch.export`.

    Raises:
      UsageError: ONNX cannot express the model.
      StorageError: the file cannot be written, or differs by more than
        `check.LARGEST_DIFFERENCE`.
    """
    from algorithmic_efficiency.export import pytorch  # noqa: PLC0415 - it is slow

    canonical = model.canonical()
    module, placed = pytorch.load(model.definition, canonical, batch)
    notes = {
        "workload": model.definition.name,
        "framework": model.backend.name,
        "step": str(model.step),
        "mode": "training" if training else "evaluation",
    }
    program = pytorch.export(module, placed, training=training, notes=notes)
    feeds = {n: x.numpy() for k, v in placed.items() for n, x in pytorch.named(k, v)}
    wanted = ours(model, batch, training=training)
    with files.atomic(output, "Grant access, or give another --output.") as temporary:
        program.save(temporary)
        norms = check.batch_norms(temporary)
        check.check_batch_norms(norms, pytorch.layers(module), output)
        difference = check.largest_difference(check.run(temporary, feeds), wanted)
        if not difference <= check.LARGEST_DIFFERENCE:
            raise StorageError(
                f"Found a difference of {difference:.1e} between ONNX Runtime and our "
                f"{model.backend.name}, expected {check.LARGEST_DIFFERENCE} of the "
                f"largest value at most; {output} was not written."
            )
    return difference


def ours(
    model: trained.Trained, batch: Mapping[str, Any], *, training: bool
) -> dict[str, np.ndarray]:
    """Returns what the file's outputs should be, computed by the model's framework."""
    from algorithmic_efficiency.export import pytorch  # noqa: PLC0415 - as above

    backend = model.backend
    placed = backend.place(batch, model.definition.fields)
    outputs, state = backend.forward(
        model.model,
        model.params,
        placed,
        model.model_state,
        TRAINING if training else EVALUATION,
    )
    found = {name: _on_host(value) for name, value in pytorch.named("outputs", outputs)}
    if training:
        for name, value in backend.canonical(model.params, state).items():
            statistic = parameters.STATISTICS.get(name.rpartition(".")[2])
            if statistic in ("mean", "var"):
                found[f"{pytorch.UPDATED}{name}"] = value
    return found


def _on_host(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _check_packages() -> None:
    lost = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lost:
        raise UsageError(
            f"An export needs the package {lost[0]!r}, which is not installed. Install "
            "it with: pip install '.[pytorch,onnx]'."
        )
