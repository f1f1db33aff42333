"""The LabelViewer: a widget in Python, its page in JavaScript and CSS.

``widget``: the widget itself. ``scene``: one image with its masks, and how it travels. ``sources``:
where images come from. ``offline_page``: the viewer as HTML without a kernel. ``ranking``:
the worst first. ``picker``: the same choice with plain ipywidgets.
"""
