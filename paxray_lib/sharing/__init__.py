"""What is passed on: a model as a folder for a hub.

hub   the folder: weights, configuration, card
card  the model card, from scores and settings
"""
