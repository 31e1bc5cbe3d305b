"""--librispeech_tokenizer_vocab_path, from the command line to the data."""

import types
from pathlib import Path

import pytest
from corpora import definition, make_corpus

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UsageError
from algorithmic_efficiency.workload import Workload
from workloads.imagenet_resnet.workload import WORKLOADS

FLAG = "librispeech_tokenizer_vocab_path"


@pytest.fixture(autouse=True)
def table(monkeypatch):
    table = {"speech": definition(), **WORKLOADS}
    monkeypatch.setattr(registry, "definitions", lambda: table)


def config(*arguments):
    return cli.make_config(cli.parse(["runner", *arguments]))


def test_it_names_the_tokenizer_of_a_run(tmp_path):
    make_corpus(tmp_path / "LibriSpeech")
    given = tmp_path / "mine.model"
    (tmp_path / "LibriSpeech" / "tokenizer.model").rename(given)
    asked = "--workload=speech", "--scale=full", f"--data_dir={tmp_path}"
    with pytest.raises(UsageError, match=r"no tokenizer .*/tokenizer\.model\. Prepare"):
        config(*asked)
    made = config(*asked, f"--librispeech_tokenizer_vocab_path={given}")
    assert made.folders == Folders(tmp_path, ((FLAG, given),))
    assert made.workload == "speech"


def test_it_is_refused_where_there_is_no_tokenizer():
    with pytest.raises(UsageError, match="other workloads than imagenet_resnet_mini"):
        config(
            "--workload=imagenet_resnet_mini", "--librispeech_tokenizer_vocab_path=x"
        )


def test_evaluation_in_another_folder_keeps_it(tmp_path):
    make_corpus(tmp_path / "LibriSpeech")
    given = tmp_path / "mine.model"
    given.write_bytes((tmp_path / "LibriSpeech" / "tokenizer.model").read_bytes())
    backend = types.SimpleNamespace(
        build=lambda definition: None, seed_from=lambda rng: (0, 0)
    )
    workload = Workload(definition(), backend, Folders(Path("gone"), ((FLAG, given),)))
    backend.place = lambda batch, fields: batch
    queue = workload._build_input_queue(None, "train", str(tmp_path), 2)
    batch = next(queue)
    assert batch["inputs"][0].shape[0] == 2
    (dataset,) = workload._splits._opened.values()
    assert dataset.element.tokenizer.path == given
