"""The LabelViewer: a widget in Python, its page in JavaScript and CSS.

``widget``: the widget itself. ``traits``: its state. ``scene``: one image with its masks, and how
it travels. ``sources``: where images come from. ``corrections``: what strokes make of the masks.
``offline_page``: the viewer as HTML without a kernel. ``ranking``: the worst first. ``picker``: the
same choice with plain ipywidgets.
"""
