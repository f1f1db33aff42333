"""A CT and its segmentation: read, cleaned, labels derived, projected into a data set.

- structures (with totalseg.csv): what a segmentation may hold
- nifti, segmentation, scan: files to a `Scan` in one orientation, checked
- body: the patient without the table, contrast agent limited
- cleanup, prerequisites, division, mediastinum, derive: from structures to our labels
- project: one scan to images and masks; pairing, dataset: many of them to a data set
"""
