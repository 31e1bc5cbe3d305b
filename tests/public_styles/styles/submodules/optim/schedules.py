def warmup(steps):
    return lambda step: min(1.0, (step + 1) / steps)
