"""What people decide on masks, and how they correct them: one image after the other.

films        images with masks to review: predictions, or a data set
decisions    `review.csv`: accept, doubt or reject, with a note
blind        a random order in which nothing tells where masks are from
accepted     a data set of what was accepted
journal      strokes on disk before they are acknowledged
corrections  a data set of corrected masks
film_copy    its films, copied as they are
"""
