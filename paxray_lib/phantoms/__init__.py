"""Random thoraxes: body, voxels, organs, skeleton, appearance, and the sample data set."""
