"""Trained models as ONNX files: `algoperf export`.

`command` is the command line, `trained` reads a checkpoint, `example` makes a batch,
`pytorch` writes the file, `check` runs it beside our own forward pass. A model of JAX
goes through the same model of PyTorch, since parameters have one canonical form
(docs/decisions/027-onnx.md).
"""
