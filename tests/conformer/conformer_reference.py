"""The Conformer in NumPy float64, one utterance at a time and without any padding."""

import front_reference as front
import numpy as np


class Reference:
    """The model with given weights; `outputs` and `statistics` are what it gives.

    Attributes:
      weights: canonical names -> arrays, running statistics included.
      options: arguments of the model.
      keep: 1, or 0 for a dropout that drops everything.
    """

    def __init__(self, weights, options, keep=1.0):
        self.weights = {k: np.asarray(v, np.float64) for k, v in weights.items()}
        self.options, self.keep = options, keep

    def __call__(self, sounds, train):
        """Returns the logits [T', V] of each utterance, whole as it was spoken."""
        self.train, self.statistics = train, {}
        xs = [self.start(sound) for sound in sounds]
        for i in range(self.options["blocks"]):
            xs = self.block(f"conformers.{i}", xs)
        return [self.dense("lin", self.layer_norm("ln", x)) for x in xs]

    def start(self, sound):
        frames, kept = -(-len(sound) // 160), -(-len(sound) // 640)
        sound = np.append(sound, np.zeros(4 * kept * 160 + 1000 - len(sound)))
        features, _ = front.log_mel(sound, np.zeros_like(sound))
        even = 4 * kept + 2
        x, _ = front.subsample(
            features[:even], np.arange(even) >= frames, self.under("subsample")
        )
        size = x.shape[1] // 2
        angles = np.arange(kept)[:, None] / 10_000 ** (np.arange(size) / (size - 1))
        x = x[:kept] + np.hstack([np.sin(angles), np.cos(angles)])
        return x * self.keep

    def block(self, name, xs):
        xs = [x + 0.5 * self.keep * self.feed_forward(f"{name}.ff1", x) for x in xs]
        xs = [x + self.keep * self.attention(f"{name}.mhsa", x) for x in xs]
        branches = self.convolution(f"{name}.conv", xs)
        xs = [x + y for x, y in zip(xs, branches, strict=True)]
        xs = [x + 0.5 * self.keep * self.feed_forward(f"{name}.ff2", x) for x in xs]
        if not self.options["post_layer_norm"]:
            return xs
        return [self.layer_norm(f"{name}.ln", x) for x in xs]

    def feed_forward(self, name, x):
        y = self.dense(f"{name}.linear1", self.layer_norm(f"{name}.ln", x))
        return self.dense(f"{name}.linear2", self.act(y))

    def attention(self, name, x):
        y = self.layer_norm(f"{name}.ln", x)
        size = x.shape[1] // self.options["heads"]
        scale = np.log1p(np.exp(self.weights[f"{name}.qs.weight"])) * 1.442695041
        heads = []
        for start in range(0, x.shape[1], size):
            query, key, value = (
                self.dense(f"{name}.{each}", y)[:, start : start + size]
                for each in ("query", "key", "value")
            )
            score = (query * scale) @ key.T / np.sqrt(size)
            share = np.exp(score - score.max(1, keepdims=True))
            heads.append(share / share.sum(1, keepdims=True) @ value)
        y = np.hstack(heads) * self.options["attention_temperature"]
        return self.dense(f"{name}.out", y)

    def convolution(self, name, xs):
        kernel = self.weights[f"{name}.conv1.weight"][:, 0]
        ys = []
        for x in xs:
            y = self.layer_norm(f"{name}.ln", x)
            gate = 1 / (1 + np.exp(-self.dense(f"{name}.lin2", y)))
            padded = np.pad(self.dense(f"{name}.lin1", y) * gate, ((2, 2), (0, 0)))
            ys.append(sum(padded[i : i + len(x)] * kernel[:, i] for i in range(5)))
        ys = self.batch_norm(f"{name}.bn", ys)
        return [self.dense(f"{name}.lin3", self.act(y)) for y in ys]

    def batch_norm(self, name, ys):
        own = self.under(name)
        mean, var = own["running_mean"], own["running_var"]
        if self.train:
            frames = np.vstack(ys)
            new = self.options["momentum"]
            moved = {"running_mean": mean * (1 - new) + new * frames.mean(0)}
            moved["running_var"] = var * (1 - new) + new * frames.var(0)
            self.statistics |= {f"{name}.{key}": x for key, x in moved.items()}
            mean, var = frames.mean(0), frames.var(0)
        factor = (1 + own["weight"]) / np.sqrt(var + 1e-3)
        return [(y - mean) * factor + own["bias"] for y in ys]

    def layer_norm(self, name, x):
        own = self.under(name)
        y = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        return y * (1 + own["weight"]) + own["bias"]

    def dense(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def act(self, x):
        if self.options["activation"] == "silu":
            return x / (1 + np.exp(-x))
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(inner))

    def under(self, name):
        start = f"{name}."
        return {
            key.removeprefix(start): value
            for key, value in self.weights.items()
            if key.startswith(start)
        }
