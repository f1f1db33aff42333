"""What people look at: overlays, plots, the picker and the viewer.

``overlay``: labels over an image, by the rules of ``blending``. ``plots``: figures for notebooks.
``picker`` and ``viewer``: labels to choose from. ``coerce``: paths and arrays as pixels and masks.
"""
