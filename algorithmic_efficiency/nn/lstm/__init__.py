"""A bidirectional LSTM layer over utterances of different lengths, in both frameworks.

For each direction and example, with x_t the input of frame t and * elementwise:

    i, f, u, o = W_ih x_t + b_ih + W_hh h_(t-1) + b_hh        four blocks of H rows
    c_t = sigmoid(f) * c_(t-1) + sigmoid(i) * tanh(u)
    h_t = sigmoid(o) * tanh(c_t)                              h_0 = c_0 = 0

The second direction reads the valid frames of an example from the last to the first.
The output of a frame is (h of the first, h of the second direction), and 0 where the
frame is padding. Names, shapes and order of the parameters are those of
`torch.nn.LSTM`: weight_ih_l0 [4H, D], weight_hh_l0 [4H, H], bias_ih_l0 and bias_hh_l0
[4H], and the same with `_reverse`.
"""
