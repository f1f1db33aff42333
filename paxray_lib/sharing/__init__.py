"""What is passed on: a model as a folder for a hub, films and masks as one page.

hub   the folder: weights, configuration, card
card  the model card, from scores and settings
page  the viewer with films and masks
"""
