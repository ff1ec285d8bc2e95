"""Networks made of depthwise convolutions, as PyTorch modules: what the network bench runs.

Each module here defines one network and a function of its own name that makes it:
`depthwise.bench.networks.mobilenet_v2.mobilenet_v2()`.  Where a workload has their name, their
layers have its shapes.
"""
