"""The LabelViewer: a widget in Python, its page in JavaScript and CSS.

``widget``: the widget itself. ``traits``: its state. ``wire``: what passes between kernel and page.
``pictures``: what it shows, drawn in Python. ``scene``: one image with its masks, and how it
travels. ``sources``: where images come from. ``two_models``: from two folders of masks.
``uniting``: masks of other labels.
``corrections``: what strokes make of the masks. ``reviewing``: decisions on the images.
``assets``: script and style of its page. ``offline_page``: the viewer as HTML without a kernel.
``replay``: the strokes that it handed out. ``ranking``: the worst first.
``picker``: the same choice with plain ipywidgets.
"""
