"""What is passed on: a model as a folder for a hub, films and masks as a page, the model in a page.

hub   the folder: weights, configuration, card
card  the model card, from scores and settings
page  the viewer with films and masks
live  the viewer with a model, for films that are dropped on it
"""
