"""Networks: built by name, their weights and checkpoints, and how one is applied to an image.

segmenter    the model type: a network with its labels and preprocessing
build        networks by name, with the weights of their encoders
published    the network of the PAXRay paper
weights      files of weights, read safely and compared key by key
checkpoints  models saved and loaded
folding      a faster copy of a model for inference
decisions    logits to packed bits
inference    one image, or a batch, through a model
"""
