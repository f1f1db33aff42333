"""Random thoraxes, without any patient: data for tests, demonstrations and first trainings.

- voxels: the canvas that shapes are painted on, and the labels of its values
- body: the proportions of one thorax; chest, tubes, skeleton: its parts, painted
- appearance: how its images differ; phantom: one thorax, its images and masks
- sample_dataset: many of them in the PAXRay layout; ct_files: one as a CT
- example: one for a lesson, where there is no data set
"""
