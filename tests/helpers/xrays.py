"""DICOM X-rays for tests, and DICOM Segmentations as highdicom reads them."""

import gdcm
import highdicom
import numpy as np
import pydicom
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


def write_xray(path, size, **tags):
    """Write a DICOM X-ray with what a real one has, and `tags` in addition or instead (None: left
    out).
    """
    dataset = pydicom.Dataset()
    values = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Modality": "CR",
        "PatientName": "Doe^Jane",
        "PatientID": "1",
        "Rows": size[0],
        "Columns": size[1],
        "SamplesPerPixel": 1,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
    }
    empty = "PatientBirthDate PatientSex StudyID StudyDate StudyTime AccessionNumber"
    values |= dict.fromkeys(empty.split(), "")
    for name, value in {**values, **tags}.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = np.random.default_rng(1).integers(0, 4096, size, np.uint16).tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def transcode(source, target, syntax):
    """Write a DICOM file again in a transfer syntax by GDCM's name for it; return its path."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def read_seg(path):
    """Return the (L, H, W) bool stack of a DICOM Segmentation as highdicom reads it."""
    seg = highdicom.seg.segread(path)
    source = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    pixels = seg.get_pixels_by_source_instance(
        [source], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    return pixels[0].transpose(2, 0, 1).astype(bool)
