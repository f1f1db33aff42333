"""Masks to numbers: the cardiothoracic ratio, sizes, rotation, inspiration.

definitions  what each measurement is, in words, with sources
geometry     what is measured in the masks of one image
tables       measurements of whole predictions, and how well they agree with reference masks
"""
