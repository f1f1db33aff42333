"""A CT and its segmentation: read, clean, derive labels, project into a data set."""
