"""From masks to something to send: what `predict` wrote, as pictures and one page.

overlays  films with their structures and a legend, and small ones for the page
page      thumbnails, measurements and what is doubtful, in one file
sheet     the same on paper: a contact sheet
"""
