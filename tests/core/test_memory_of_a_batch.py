"""A batch that cannot be held in memory is a sentence, not a kill."""

from types import SimpleNamespace

import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.definition import Field
from algorithmic_efficiency.errors import SubmissionError
from algorithmic_efficiency.workload import Workload


def test_bytes_of_a_field():
    assert Field((224, 224, 3), "float32", "HWC").nbytes == 602_112
    assert Field((), "int32").nbytes == 4


@pytest.mark.parametrize("name", ["imagenet_resnet_mini", "librispeech_conformer_mini"])
def test_batch_larger_than_the_memory_is_refused(name, tmp_path):
    backend = SimpleNamespace(build=lambda definition: None)
    workload = Workload(registry.get(name), backend, Folders(tmp_path))
    with pytest.raises(SubmissionError, match=f"1000000000; one such batch of {name}"):
        workload.train_queue(10**9, seed=0)
