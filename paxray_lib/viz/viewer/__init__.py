"""The LabelViewer: a widget in Python, its page in JavaScript and CSS.

``widget``: the widget itself. ``scene``: one image with its masks, and how it travels. ``sources``:
where images come from. ``offline_page``: the viewer as HTML without a kernel.

Elements of the page bear `data-testid` attributes, for tests and scripts:

    viewer, stage, canvas        the whole, the area of the image, the drawn image
    message, readout             notices, the labels under the cursor
    mode-target, mode-prediction, mode-both, mode-difference
    opacity, outline, dashed     style of the labels
    level, window                gray values of the image
    zoom-in, zoom-out, zoom-reset, zoom     buttons, and the scale as text
    export, copy, copied         PNG of what is seen, selection as Python, the text copied last
    search, present, all, none   choosing in the tree
    count                        how many labels are selected
    tree, group-GROUP, expand-GROUP         the tree, the box of a group, its arrow
    label-NAME, only-NAME        row of a label (`aria-checked`), its "only this" button;
                                 a name that occurs again has its index behind it, as in
                                 label-mediastinum_upper-16
    iou-NAME, dice-NAME, area-NAME, mean    scores, areas, mean scores of the selection
    browse, previous, next, jump, view, sort, place     present only with several images

On the viewer, `data-drawn` counts the drawings, `data-draw-ms` is the duration of the last one,
`data-first-ms` that of the first one of an image from its arrival on, and `data-visible` is the
trait `visible` at this moment.
"""
