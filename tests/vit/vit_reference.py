"""The Vision Transformer once more, in float64 NumPy and for one image at a time.

Written from the description of the workload; it shares no code with the models.
"""

import math

import numpy as np


def logits(weights, image, *, patch, heads, gated=False, post=False, pooled=False):
    """Returns logits [classes] of an image [H, W, 3]; weights in PyTorch's names."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    x = tokens(w, np.asarray(image, np.float64), patch)
    depth = 1 + max(int(n.split(".")[1]) for n in w if n.startswith("blocks."))
    for number in range(depth):
        name = f"blocks.{number}"

        def branch_1(x, name=name):
            return attention(w, f"{name}.attention", x, x, heads)

        def branch_2(x, name=name):
            return mlp(w, f"{name}.mlp", x, gated)

        for norm, branch in (("ln1", branch_1), ("ln2", branch_2)):
            if post:
                x = layer_norm(w, f"{name}.{norm}", x + branch(x))
            else:
                x = x + branch(layer_norm(w, f"{name}.{norm}", x))
    if not post:
        x = layer_norm(w, "ln", x)
    if pooled:
        y = attention(w, "map.attention", w["map.probe"][0], x, heads)
        x = (y + mlp(w, "map.mlp", layer_norm(w, "map.ln", y), False))[0]
    else:
        x = x.mean(0)
    return dense(w, "linear_head", np.tanh(dense(w, "linear", x)))


def tokens(w, image, patch):
    """Returns each patch's code plus that of its place, row by row."""
    rows, columns = image.shape[0] // patch, image.shape[1] // patch
    kernel, found = w["conv_patch.weight"], []
    for row in range(rows):
        for column in range(columns):
            part = image[row * patch :, column * patch :][:patch, :patch]
            code = np.einsum("ijc,ocij->o", part, kernel) + w["conv_patch.bias"]
            found.append(code + place(row, column, len(code)))
    return np.stack(found)


def place(row, column, width):
    """Returns sines and cosines of the column, then of the row."""
    quarter, code = width // 4, []
    for angle in (column, row):
        for function in (math.sin, math.cos):
            code += [
                function(angle / 10_000 ** (k / (quarter - 1))) for k in range(quarter)
            ]
    return np.array(code)


def dense(w, name, x):
    """Returns x @ weight.T + bias."""
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def layer_norm(w, name, x):
    """Returns each row with mean 0 and variance 1, scaled and shifted."""
    centred = x - x.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return y * w[f"{name}.weight"] + w[f"{name}.bias"]


def mlp(w, name, x, gated):
    """Returns two dense layers with GELU (tanh), and a gate, between them."""
    y = dense(w, f"{name}.linear1", x)
    y = 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
    if gated:
        y = y * dense(w, f"{name}.linear_gate", y)
    return dense(w, f"{name}.linear2", y)


def attention(w, name, queries, x, heads):
    """Returns [Q, width]: head by head, the values that each query looks at."""
    query = dense(w, f"{name}.query", queries)
    key, value = dense(w, f"{name}.key", x), dense(w, f"{name}.value", x)
    size, seen = query.shape[1] // heads, []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        score = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
        seen.append(score / score.sum(-1, keepdims=True) @ value[:, part])
    return dense(w, f"{name}.out", np.concatenate(seen, -1))
