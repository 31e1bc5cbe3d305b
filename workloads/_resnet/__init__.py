"""What the residual networks of several workloads share (no workload by itself)."""
