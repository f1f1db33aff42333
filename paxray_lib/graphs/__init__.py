"""Models as ONNX graphs, for programs that have no torch.

pixels   a model that takes the pixels of films as they are, preprocessing inside
export   such a model as one file
wire     what ONNX files are made of, in bytes
"""
