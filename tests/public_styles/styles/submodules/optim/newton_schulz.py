def orthogonal(x, steps=5, eps=1e-7):
    tall = x.size(0) > x.size(1)
    x = (x.T if tall else x) / (x.norm() + eps)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x
