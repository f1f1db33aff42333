"""What people look at: overlays and plots.

``overlay``: labels over an image, by the rules of ``blending``. ``heat``: the
probabilities of one label, by rules of its own. ``plots``: figures for notebooks.
``compose``: images side by side, with titles and a legend.
"""
