"""The batch sizes of the reference algorithms, one table for all of them."""

# Those of the published AlgoPerf baselines.
BATCH_SIZES = {
    "criteo1tb": 262_144,
    "fastmri": 32,
    "imagenet_resnet": 1024,
    "imagenet_resnet_silu": 512,
    "imagenet_resnet_gelu": 512,
    "imagenet_vit": 1024,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "mnist": 16,
    "ogbg": 512,
    "wmt": 128,
}
MINI_BATCH_SIZE = 128
MINI_SPEECH_BATCH_SIZE = 32  # of a corpus of 1,500 utterances


def get_batch_size(workload_name: str) -> int:
    """Returns the number of examples of a step, over all devices.

    Raises:
      ValueError: the name is not in the table; the harness then asks again with the
        name of the base workload.
    """
    if workload_name.endswith("_mini"):
        is_speech = workload_name.startswith("librispeech_")
        return MINI_SPEECH_BATCH_SIZE if is_speech else MINI_BATCH_SIZE
    if workload_name not in BATCH_SIZES:
        raise ValueError(
            f"No batch size for workload {workload_name!r}: expected one of "
            f"{', '.join(sorted(BATCH_SIZES))}, or a name ending in '_mini'."
        )
    return BATCH_SIZES[workload_name]
