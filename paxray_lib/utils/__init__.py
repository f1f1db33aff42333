"""What every room uses: atomic files, errors with near matches, progress, locks, downloads, one manifest."""
