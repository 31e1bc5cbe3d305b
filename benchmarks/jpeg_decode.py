"""Images a second and core of the input pipeline, from JPEG bytes to training pixels.

`python -m benchmarks.jpeg_decode` draws images like ImageNet's (500x375, 84 KB), then
measures in turn: OpenCV's decoder alone, a training example (decode, crop, resize
to 224, flip), an evaluation example, and normalising a batch. It prints the median of
the rounds as JSON lines. Time is CPU time of one thread, so a busy machine shows in it
less than on a clock.
"""

import json
import statistics
from collections.abc import Callable

import cv2
import numpy as np

from benchmarks.turns import median_seconds
from workloads._images.images import Element, Example, Normalise, decode

IMAGES = 32
ROUNDS = 9


def main() -> None:
    """Measures and prints."""
    cv2.setNumThreads(1)
    files = [photograph(np.random.default_rng(seed)) for seed in range(IMAGES)]
    examples = [Example(data, 0, "drawn") for data in files]
    element = Element(224, 256, (0.08, 1.0), (3 / 4, 4 / 3))
    rng = np.random.default_rng(0)
    batch = {"inputs": np.stack([element(e, None)["inputs"] for e in examples])}
    normalise = Normalise((123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
    flags = cv2.IMREAD_COLOR
    tasks: dict[str, Callable[[], object]] = {
        "opencv_decode": lambda: [
            cv2.imdecode(np.frombuffer(data, np.uint8), flags) for data in files
        ],
        "decode": lambda: [decode(data, "drawn") for data in files],
        "train_example": lambda: [element(example, rng) for example in examples],
        "eval_example": lambda: [element(example, None) for example in examples],
        "normalise": lambda: normalise(batch),
    }
    seconds = median_seconds(tasks, ROUNDS)
    rates = {name: IMAGES / each for name, each in seconds.items()}
    size = round(statistics.mean(len(data) for data in files) / 1000)
    for name, rate in rates.items():
        row = {
            "benchmark": "jpeg_decode",
            "what": name,
            "images_per_second_per_core": round(rate),
            "ratio_to_opencv_decode": round(rate / rates["opencv_decode"], 3),
            "mean_kilobytes": size,
        }
        print(json.dumps(row))


def photograph(rng: np.random.Generator) -> bytes:
    """Returns a JPEG of 500x375 with smooth areas, edges and grain, as photos have."""
    image = rng.uniform(0, 255, (6, 8, 3)).astype(np.float32)
    image = cv2.resize(image, (500, 375), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        centre, axes = rng.integers(0, 500, 2), rng.integers(5, 120, 2)
        angle, colour = rng.uniform(0, 360), rng.uniform(0, 255, 3)
        cv2.ellipse(image, centre, axes, angle, 0, 360, colour, -1)
    grain = cv2.GaussianBlur(rng.normal(0, 40, (375, 500, 1)), (0, 0), 0.8)
    pixels = np.clip(image + grain[..., None], 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])


if __name__ == "__main__":
    main()
