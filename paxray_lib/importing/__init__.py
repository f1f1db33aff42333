"""Data sets in other layouts, imported to the PAXRay layout with packed masks.

common: what all importers share; names and splits of images; pictures: masks as pictures; stream:
JSON of any size. mask_folders, coco, dicom_seg, multiclass and chexmask make a `Source` each, and
`common.import_dataset` writes it. paxraypp: PAX-Ray++ from its archive. coco_export: a data set as
COCO files, the way back.
"""
