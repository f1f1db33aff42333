"""Masks to numbers: the cardiothoracic ratio, sizes, rotation, inspiration.

definitions  what each measurement is, in words, with sources
each         masks and numbers of one film after another, without files
geometry     what is measured in the masks of one image
lines        what is known of each film, as JSON
tables       measurements of whole predictions, and how well they agree with reference masks
"""
