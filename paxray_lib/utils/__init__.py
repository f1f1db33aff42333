"""What every room uses: atomic files, errors with near matches, progress, locks, downloads.

`manifest` is the one mechanism that knows what is done already.
"""
