"""Looks at every file of a data set: `python -m dataset_setup doctor imagenet`.

It counts, decodes every image or utterance, and names those that are missing or broken.
The exit code is 0 where all is as published, else 1.
"""

import argparse
import sys
from collections.abc import Sequence

from algorithmic_efficiency.data import Folders
from algorithmic_efficiency.errors import UserError
from algorithmic_efficiency.text import show
from dataset_setup import check, check_speech
from dataset_setup.setup import folder

CHECKS = {"imagenet": check.imagenet, "librispeech": check_speech.librispeech}


def main(argv: Sequence[str]) -> int:
    """Runs the check; returns its exit code, 2 where it cannot be made."""
    parser = argparse.ArgumentParser(
        prog="python -m dataset_setup doctor", description=__doc__
    )
    parser.add_argument("data_set", choices=CHECKS)
    add = parser.add_argument
    add("--data_dir", type=folder, default=folder("~/data"))
    add("--imagenet_v2_data_dir", type=folder, help="where else ImageNet-v2 may lie")
    add("--librispeech_tokenizer_vocab_path", type=folder, help="another tokenizer")
    arguments = vars(parser.parse_args(argv))
    run = CHECKS[arguments.pop("data_set")]
    try:
        return run(Folders(**arguments), decode=True)
    except UserError as error:
        show(str(error), sys.stderr)
        return 2
