"""Folders of X-rays to masks: inputs of any size, resumable, shared by several processes.

predict      the public call: what is to be done, and whether it may be written here
pipeline     reading, the network and writing side by side, and the report
recognition  what an image is, from its masks: its view, and flags
doubt        how far its masks can be believed
views        views from a table
"""
