"""Models as ONNX graphs: for programs that have no torch, this one among them.

pixels   a model that takes the pixels of films as they are, preprocessing inside
export   such a model as one file
network  the network within such a file
session  that network, run by onnxruntime
wire     what ONNX files are made of, in bytes
"""
