"""Data sets in other layouts, imported to the PAXRay layout with packed masks.

common: what all importers share; pictures: masks as pictures; mask_folders: a folder of masks for
each structure. An importer makes a `Source`, and `import_dataset` writes it.
"""
