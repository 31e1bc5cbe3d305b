"""Looks at every file of a data set: `python -m dataset_setup doctor imagenet`.

It counts, decodes every image or utterance, and names those that are missing or broken.
The exit code is 0 where all is as published, else 1.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UserError
from algorithmic_efficiency.files import readable
from algorithmic_efficiency.paths import folder_of, path_of
from algorithmic_efficiency.text import show
from dataset_setup import check, check_small, check_speech

CHECKS = {
    "imagenet": check.imagenet,
    "librispeech": check_speech.librispeech,
    "cifar": check_small.cifar,
    "mnist": check_small.mnist,
}


def main(argv: Sequence[str]) -> int:
    """Runs the check; returns its exit code, 2 where it cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m dataset_setup doctor", description=__doc__
    )
    parser.add_argument("data_set", choices=CHECKS)
    for flag, read, default, content in (
        ("data_dir", folder_of, "~/data", "where all data lie; ~/data by default"),
        ("imagenet_v2_data_dir", folder_of, None, "where else ImageNet-v2 may lie"),
        ("librispeech_tokenizer_vocab_path", path_of, None, "another tokenizer"),
    ):
        reads = functools.partial(read, flag)
        parser.add_argument(f"--{flag}", type=reads, default=default, help=content)
    try:
        arguments = vars(parser.parse_args(argv))
        run = CHECKS[arguments.pop("data_set")]
        with readable():
            folders = Folders(arguments.pop("data_dir")).replaced(**arguments)
            return run(folders, decode=True)
    except UserError as error:
        show(str(error), sys.stderr)
        return 2
