"""What people look at: overlays and plots.

``overlay``: labels over an image, by the rules of ``blending``. ``plots``: figures for notebooks.
``compose``: images side by side, with titles and a legend.
"""
