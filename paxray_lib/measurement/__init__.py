"""Masks to numbers: the cardiothoracic ratio, sizes, rotation, inspiration.

geometry  what is measured in the masks of one image, with definitions and sources
tables    measurements of whole predictions, and how well they agree with reference masks
"""
