"""Folders of X-rays to masks: inputs of any size, resumable, shared by several processes.

predict      the public call: what is to be done, and whether it may be written here
pipeline     what is written of films, and the report
engines      what runs a network: onnxruntime or torch
films        reading, the network and deciding side by side, without a file being written
recognition  what an image is, from its masks: its view, and flags
doubt        how far its masks can be believed
views        views from a table
"""
