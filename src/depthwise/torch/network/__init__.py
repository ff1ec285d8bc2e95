"""What `depthwise.torch.optimize` is made of: from a model to steps that run on our kernels."""
